"""Ours against OpenCLIP's own functions, on the published architectures with random weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
from huggingface_hub import constants
from safetensors.torch import save_file

from crossmodal.clip.loading import load_model
from crossmodal.clip.text_tower import CutTextTower, StockTextTower
from tests.parity.reference import (
    BATCHES,
    TEXTS,
    assert_equals_reference,
    assert_tells_apart,
    pictures,
    random_model,
    reference_images,
    reference_texts,
    runtime,
)
from tests.unit.clip.hub_tokenizer import hub_tokenizer

SPEC = "ViT-B-32/laion2b_s34b_b79k"
REPOSITORY = "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
COMMIT = "0" * 40


@pytest.mark.parametrize(
    "arch",
    [
        "ViT-B-32",
        "ViT-B-16",
        "ViT-L-14",
        pytest.param("ViT-H-14", marks=pytest.mark.slow),
        pytest.param("MobileCLIP-B", marks=pytest.mark.slow),
    ],
)
def test_causal_towers_are_cut_and_equal_openclip(arch: str) -> None:
    model = random_model(arch)
    # OpenCLIP computes all positions whatever the batch: one pass is the reference for every way to batch the texts.
    rows = reference_texts(model, open_clip.get_tokenizer(arch), TEXTS)
    assert_tells_apart(rows[[0, 4, 6, 7]])
    pixels = pictures(model.visual.image_size[0])[: 1 if "14" in arch else 2]  # one picture of these takes seconds
    images = reference_images(model, pixels)
    assert_tells_apart(images)
    clip = runtime(arch, model)
    assert isinstance(clip._text_tower, CutTextTower)
    reference = dict(zip(TEXTS, rows, strict=True))
    for batch in BATCHES:
        expected = np.stack([reference[text] for text in batch])
        assert_equals_reference(clip.embed_texts(batch).embeddings, expected)
    assert_equals_reference(clip.embed_pixels(pixels), images)


@pytest.mark.parametrize("arch", ["MobileCLIP-S1", "ViT-B-16-SigLIP"])
def test_bidirectional_towers_run_whole_and_equal_openclip(arch: str) -> None:
    siglip = "SigLIP" in arch
    ours, tokenize = (hub_tokenizer(64) if siglip else open_clip.get_tokenizer(arch) for _ in range(2))
    model = random_model(arch)
    batches = (TEXTS, TEXTS[2:3])
    texts = [reference_texts(model, tokenize, batch) for batch in batches]
    pixels = pictures(model.visual.image_size[0])
    images = reference_images(model, pixels)
    assert_tells_apart(images)
    clip = runtime(arch, model, tokenizer=ours)
    assert isinstance(clip._text_tower, StockTextTower)
    assert clip.info.logit_bias == (-10.0 if siglip else None)
    for batch, expected in zip(batches, texts, strict=True):
        assert_equals_reference(clip.embed_texts(batch).embeddings, expected)
    assert_equals_reference(clip.embed_pixels(pixels), images)


@pytest.fixture
def cached_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub cache, offline, in which published weights of ViT-B-32 can lie; emptied afterwards, they are large."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / REPOSITORY / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (tmp_path / REPOSITORY / "refs").mkdir()
    (tmp_path / REPOSITORY / "refs" / "main").write_text(COMMIT)
    weights = folder / "open_clip_model.safetensors"
    yield weights
    weights.unlink()


def test_published_weights_loaded_from_disk_equal_openclip_in_fp32_and_bf16(cached_weights: Path) -> None:
    model = random_model("ViT-B-32")
    save_file(model.state_dict(), cached_weights)
    texts = reference_texts(model, open_clip.get_tokenizer("ViT-B-32"), TEXTS)
    images = reference_images(model, pictures(224))
    del model
    full = load_model(SPEC, device="cpu", precision="fp32")
    assert_equals_reference(full.embed_texts(TEXTS).embeddings, texts)
    assert_equals_reference(full.embed_pixels(pictures(224)), images)
    fingerprint = full.info.fingerprint
    del full
    low = load_model(SPEC, device="cpu", precision="bf16")
    assert low.info.fingerprint == fingerprint
    assert_equals_reference(low.embed_texts(TEXTS).embeddings, texts, least=0.999, atol=5e-3)
    assert_equals_reference(low.embed_pixels(pictures(224)), images, least=0.999, atol=5e-3)
