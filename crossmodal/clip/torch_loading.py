"""Makes a model that PyTorch runs from what its spec means."""

from typing import Any

from crossmodal.clip.catalogue import Checkpoint
from crossmodal.clip.device import Precision
from crossmodal.clip.fingerprint import fingerprint, hash_weights
from crossmodal.clip.preprocessing import preprocessing_of
from crossmodal.clip.text import BpeTokenizer, Tokenizer, adapt_tokenizer
from crossmodal.clip.torch_runtime import TorchClip
from crossmodal.clip.weights import build_model
from crossmodal.errors import ConfigurationError
from crossmodal.records import Profile

__all__ = ["NotComputable", "fingerprint_of", "load_torch", "tokenizer_of", "torch_clip"]


class NotComputable(ConfigurationError):
    """The architecture does not run in this precision on this device."""


def load_torch(checkpoint: Checkpoint, device: str, precision: Precision, profile: Profile) -> TorchClip:
    """Build the model and load its weights. Raises ConfigurationError, ``NotComputable`` where another precision may do."""
    model = build_model(checkpoint, precision)
    tokenizer = tokenizer_of(checkpoint, model)
    weights = hash_weights(checkpoint.weights)
    identity = fingerprint_of(checkpoint, model, tokenizer, weights=weights, profile=profile)
    return torch_clip(checkpoint, model, tokenizer, identity, device=device, precision=precision, profile=profile)


def torch_clip(
    checkpoint: Checkpoint,
    model: Any,
    tokenizer: Tokenizer,
    identity: str,
    *,
    device: str,
    precision: Precision,
    profile: Profile,
) -> TorchClip:
    """Put a model that is built and loaded behind the port; it is taken over."""
    try:
        return TorchClip(
            model,
            tokenizer,
            name=checkpoint.name,
            dim=checkpoint.model_cfg["embed_dim"],
            fingerprint=identity,
            device=device,
            precision=precision,
            calibration=checkpoint.calibration,
            profile=profile,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise NotComputable(f"Model {checkpoint.name} does not run in {precision} on {device}: {reason}") from error


def fingerprint_of(checkpoint: Checkpoint, model: Any, tokenizer: Tokenizer, *, weights: str, profile: Profile) -> str:
    """The fingerprint of a built model in ``profile``; ``weights`` is the digest of its weights file."""
    return fingerprint(
        model_cfg=checkpoint.model_cfg,
        weights=weights,
        preprocessing=preprocessing_of(model.visual.preprocess_cfg, name=checkpoint.name, profile=profile),
        dim=checkpoint.model_cfg["embed_dim"],
        tokenizer=tokenizer,
    )


def tokenizer_of(checkpoint: Checkpoint, model: Any) -> Tokenizer:
    """The tokenizer that fits ``model``. Raises ConfigurationError when it cannot be had or does not fit."""
    import open_clip

    text_cfg = checkpoint.model_cfg["text_cfg"]
    try:
        if checkpoint.bpe_path is None:
            tokenizer = open_clip.get_tokenizer(checkpoint.tokenizer)
        else:
            tokenizer = open_clip.SimpleTokenizer(
                bpe_path=str(checkpoint.bpe_path),
                context_length=text_cfg.get("context_length", 77),
                **text_cfg.get("tokenizer_kwargs", {}),
            )
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigurationError(f"Model {checkpoint.name}: its tokenizer cannot be had: {reason}") from error
    adapted = adapt_tokenizer(tokenizer)
    rows = getattr(model, "vocab_size", adapted.vocab_size)
    # A Hugging Face vocabulary may be padded; in CLIP's the end-of-text must be the model's highest id.
    if adapted.vocab_size > rows or (isinstance(adapted, BpeTokenizer) and adapted.vocab_size != rows):
        raise ConfigurationError(
            f"Model {checkpoint.name}: its tokenizer knows {adapted.vocab_size} tokens, its text tower {rows}."
        )
    return adapted
