"""Makes model folders with random weights, as OpenCLIP's local-dir reads them, small enough to load in a blink."""

import gzip
import json
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import default_bpe
from safetensors.torch import save_file

MERGES = 200
VOCABULARY = 2 * 256 + MERGES + 2
CONTEXT = 16
DIM = 32
SIZE = 32

SMALL: dict[str, Any] = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": SIZE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESSING: dict[str, Any] = {
    "size": SIZE,
    "mode": "RGB",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


def with_text(**changes: Any) -> dict[str, Any]:
    """The small configuration with another text tower."""
    return {**SMALL, "text_cfg": {**SMALL["text_cfg"], **changes}}


def with_vision(**changes: Any) -> dict[str, Any]:
    """The small configuration with another image tower."""
    return {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], **changes}}


def build(model_cfg: dict[str, Any], seed: int = 0) -> Any:
    """A model with random weights in fp32."""
    torch.manual_seed(seed)
    towers = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    model = (CustomTextCLIP if model_cfg.get("custom_text") else CLIP)(**towers)
    return model.eval()


def state_of(model_cfg: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """The tensors of such a model."""
    return {name: tensor.detach().clone() for name, tensor in build(model_cfg, seed).state_dict().items()}


def write_vocabulary(path: Path, merges: int = MERGES) -> Path:
    """CLIP's own vocabulary, cut to its first ``merges`` merges."""
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as whole:
        lines = [next(whole).rstrip("\n") for _ in range(merges + 1)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return path


def write_folder(
    folder: Path,
    *,
    model_cfg: dict[str, Any] | None = None,
    preprocess_cfg: dict[str, Any] | None = None,
    state: dict[str, torch.Tensor] | None = None,
    weights: str | None = "open_clip_model.safetensors",
    vocabulary: bool = True,
) -> Path:
    """A whole model folder; ``weights`` None leaves them out."""
    folder.mkdir(parents=True, exist_ok=True)
    model_cfg = SMALL if model_cfg is None else model_cfg
    config = {"model_cfg": model_cfg, "preprocess_cfg": PREPROCESSING if preprocess_cfg is None else preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    if vocabulary:
        write_vocabulary(folder / "bpe_simple_vocab.txt.gz")
    if weights is not None:
        save_file(state_of(model_cfg) if state is None else state, folder / weights)
    return folder
