"""Compares a runtime with OpenCLIP's own functions on a few texts and pictures before it may serve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from crossmodal.clip.base import ClipModel
from crossmodal.clip.device import Precision, torch_dtype
from crossmodal.records import Embeddings, Pixels

__all__ = ["CHECK_TEXTS", "LEAST_COSINE", "check_pixels", "least_cosine", "reference_images", "write_references"]

LEAST_COSINE: Final[dict[Precision, float]] = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999, "int8": 0.999}
"""What two ways of computing one embedding must reach; int8 is compared with itself, where it was exported."""

CHECK_TEXTS: Final = (
    "a dog",
    "",
    "two red umbrellas on a wooden bench in the rain",
    "naïve café, 東京 🙂",
    "the quick brown fox jumps over the lazy dog " * 12,
)


def check_pixels(size: int) -> Pixels:
    """Two pictures, uint8 [2, size, size, 3]: slopes of colour, and noise."""
    slope = np.linspace(0, 255, size, dtype=np.float32)
    red, green = np.meshgrid(slope, slope)
    slopes = np.stack([red, green, 255 - red], axis=-1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return np.stack([slopes, noise])


def reference_images(model: Any, pixels: Pixels, device: str, precision: Precision) -> Embeddings:
    """OpenCLIP's preprocessing and ``encode_image``, float32 of unit length."""
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    from crossmodal.clip.text_tower import unit_rows

    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    batch = torch.stack([transform(Image.fromarray(picture)) for picture in pixels])
    with torch.inference_mode():
        return unit_rows(model.encode_image(batch.to(device, torch_dtype(precision)), normalize=False))


def write_references(folder: Path, files: Mapping[str, str], model: ClipModel) -> None:
    """Keep what ``model`` makes of the texts and pictures, as ``files`` for "pixels" and "texts"."""
    np.save(folder / files["pixels"], model.embed_pixels(check_pixels(model.info.preprocessing.size)))
    np.save(folder / files["texts"], model.embed_texts(CHECK_TEXTS).embeddings)


def least_cosine(ours: Embeddings, reference: Embeddings) -> float:
    """The lowest cosine between rows of the two; -1 when the shapes differ or a row is not of unit length."""
    if ours.shape != reference.shape or not (_are_unit(ours) and _are_unit(reference)):
        return -1.0
    return float(np.einsum("nd,nd->n", ours, reference).min())


def _are_unit(rows: Embeddings) -> bool:
    """Whether rows are of unit length, to a hundredth: false of NaN and infinity."""
    return np.allclose(np.linalg.norm(rows, axis=1), 1, rtol=0, atol=0.01)
