"""What a CLIP model has to multiply, from its configuration: a multiplication and an addition are two operations.

Matrix products alone are counted, as for the peak of a device: in a transformer block of width w and positions t, 8 t w^2
for the projections of attention, 4 t^2 w for attention itself, and 4 r t w^2 for a hidden layer r times as wide.
"""

from collections.abc import Mapping
from typing import Any


def image_flops(model_cfg: Mapping[str, Any]) -> float | None:
    """Operations for one picture; None for towers that are no vision transformers of OpenCLIP's own."""
    tower = model_cfg["vision_cfg"]
    layers, patch = tower.get("layers", 12), tower.get("patch_size", 16)
    if tower.get("timm_model_name") or isinstance(layers, list) or not patch:
        return None
    width = tower.get("width", 768)
    patches = (tower["image_size"] // patch) ** 2
    blocks = layers * _block(patches + 1, width, tower.get("mlp_ratio", 4.0))
    return float(blocks + 2 * patches * 3 * patch**2 * width + 2 * width * model_cfg["embed_dim"])


def text_flops(model_cfg: Mapping[str, Any], length: int) -> float | None:
    """Operations for one text of ``length`` positions; None for towers of Hugging Face."""
    tower = model_cfg["text_cfg"]
    if tower.get("hf_model_name"):
        return None
    width = tower.get("width", 512)
    blocks = tower.get("layers", 12) * _block(length, width, tower.get("mlp_ratio", 4.0))
    return float(blocks + 2 * width * model_cfg["embed_dim"])


def _block(positions: int, width: int, ratio: float) -> float:
    return 8 * positions * width**2 + 4 * positions**2 * width + 4 * ratio * positions * width**2
