"""The identity of a model's embedding space: two models with one fingerprint give vectors that may be compared.

Device and precision are left out: they move an embedding by less than 0.001 in cosine. int8 moves it by up to 0.01 and
depends on what it was calibrated on: a quantized model is a model of its own. The name is left out too: the same weights
under another name are the same model.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from crossmodal.clip.digests import digest
from crossmodal.clip.text import Tokenizer
from crossmodal.records import Preprocessing

__all__ = ["fingerprint", "hash_weights", "quantized_fingerprint"]

_FORMAT: Final = 1
_TOWER_TRAINING: Final = frozenset({
    "patch_dropout", "timm_model_pretrained", "timm_drop", "timm_drop_path",
    "hf_model_pretrained", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs",
})  # fmt: skip
"""Fields of a tower's configuration that do not change what it computes, or that the tokenizer describes itself."""


def fingerprint(
    *, model_cfg: Mapping[str, Any], weights: str, preprocessing: Preprocessing, dim: int, tokenizer: Tokenizer
) -> str:
    """SHA-256, 64 hex digits, over all that an embedding depends on; ``weights`` is the digest of the weights."""
    parts = {
        "format": _FORMAT,
        "architecture": _architecture(model_cfg),
        "weights": weights,
        "preprocessing": _preprocessing(preprocessing),
        "dim": dim,
        "context_length": tokenizer.context_length,
        "tokenizer": tokenizer.describe(),
    }
    return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def quantized_fingerprint(source: str, graphs: Mapping[str, str]) -> str:
    """SHA-256, 64 hex digits, of a model quantized from the one with the fingerprint ``source``.

    ``graphs`` are the digests of the files of its quantized graphs.
    """
    parts = {"format": _FORMAT, "quantized": source, "graphs": dict(graphs)}
    return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    """Its fields; the profile only where it is not the standard one, so that fingerprints from before it stay valid."""
    fields = asdict(preprocessing)
    if fields["profile"] == "standard":
        del fields["profile"]
    return fields


def hash_weights(path: Path) -> str:
    """SHA-256 of a weights file; see ``digests``, which may have begun with it."""
    return digest(path)


def _architecture(model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Spell out the configuration with open_clip's defaults, so that naming a default changes nothing."""
    from open_clip import CLIPTextCfg, CLIPVisionCfg

    return {
        "embed_dim": model_cfg["embed_dim"],
        "quick_gelu": bool(model_cfg.get("quick_gelu", False)),
        "multimodal_cfg": model_cfg.get("multimodal_cfg"),
        "vision_cfg": _tower(CLIPVisionCfg, model_cfg["vision_cfg"]),
        "text_cfg": _tower(CLIPTextCfg, model_cfg["text_cfg"]),
    }


def _tower(config_type: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in asdict(config_type(**config)).items() if key not in _TOWER_TRAINING}
