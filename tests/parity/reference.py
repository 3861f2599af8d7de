"""OpenCLIP's own embeddings, and the one helper that says ours equal them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from crossmodal.clip.text import adapt_tokenizer
from crossmodal.clip.torch_runtime import TorchClip
from crossmodal.records import Embeddings, Pixels

Tokenize = Callable[[Sequence[str]], torch.Tensor]

TEXTS = (
    "",
    " ",
    "a dog",
    "a photo of a Cat, sitting on it's mat & purring!",
    "naïve café — Ünïcode, 東京タワー, Привет, שלום 🙂🐈‍⬛",
    "<b>bold</b> &amp; under_scores\nand\tspaces",
    "the quick brown fox jumps over the lazy dog " * 40,
    "x" * 700,
)
BATCHES = (TEXTS[:3], TEXTS[2:3], TEXTS[3:6], (TEXTS[7], TEXTS[2], TEXTS[6]))
"""Short ones, a lone one, middling ones, over-long ones with a short one among them."""


def random_model(arch: str) -> Any:
    """An architecture of OpenCLIP's with random weights that tell inputs apart."""
    torch.manual_seed(0)
    model = open_clip.create_model(arch, pretrained_text=False).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("gamma", "layer_scale.gamma")):  # starts at almost 0, and every picture looks the same
                parameter.fill_(0.5)
    return model


def runtime(arch: str, model: Any, *, tokenizer: Any = None) -> TorchClip:
    tokenizer = open_clip.get_tokenizer(arch) if tokenizer is None else tokenizer
    dim = open_clip.get_model_config(arch)["embed_dim"]
    return TorchClip(
        model, adapt_tokenizer(tokenizer), name=arch, dim=dim, fingerprint=arch, device="cpu", precision="fp32"
    )


def pictures(size: int) -> Pixels:
    """Two pictures that differ: stripes on a slope, and noise."""
    slope = np.tile(np.linspace(0, 255, size).astype(np.uint8), (size, 1))
    striped = np.stack([slope, slope.T, np.full((size, size), 40, np.uint8)], axis=-1)
    striped[:: max(size // 8, 2), :, 1:] = 230
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return np.stack([striped, noise])


def reference_texts(model: Any, tokenize: Tokenize, texts: Sequence[str]) -> Embeddings:
    with torch.inference_mode():
        embeddings: Embeddings = model.encode_text(tokenize(list(texts)), normalize=True).float().numpy()
    return embeddings


def reference_images(model: Any, pixels: Pixels) -> Embeddings:
    preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    with torch.inference_mode():
        batch = torch.stack([preprocess(Image.fromarray(picture)) for picture in pixels])
        embeddings: Embeddings = model.encode_image(batch, normalize=True).float().numpy()
    return embeddings


def assert_equals_reference(
    ours: Embeddings, reference: Embeddings, *, least: float = 0.9999, atol: float = 2e-5
) -> None:
    """Each row of unit length in the direction of the reference's: the cosine at least, each number within ``atol``."""
    assert ours.shape == reference.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-5)
    assert float(np.einsum("nd,nd->n", ours, reference).min()) >= least
    np.testing.assert_allclose(ours, reference, atol=atol)


def assert_tells_apart(reference: Embeddings) -> None:
    """Different inputs have different references, so that equality with them means something."""
    cosines = reference @ reference.T - 2 * np.eye(len(reference))
    assert float(cosines.max()) < 0.985
