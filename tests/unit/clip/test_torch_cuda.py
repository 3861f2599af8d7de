"""The CUDA device behind the conveyor; skipped where there is none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from crossmodal.clip.buckets import image_shapes, text_shapes
from crossmodal.clip.device import Precision
from crossmodal.clip.loading import load_model
from crossmodal.clip.self_check import LEAST_COSINE, least_cosine
from crossmodal.clip.torch_cuda import CudaAccelerator
from crossmodal.clip.torch_runtime import TorchClip
from tests.unit.clip.model_folders import CONTEXT, SIZE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

TEXTS = ["a dog", "", "two cats on a mat", "東京 🙂", "over " * 40]


def clip_on(device: str, folder: Path, precision: Precision) -> TorchClip:
    clip = load_model(f"local-dir:{folder}", device=device, precision=precision, runtime="torch")
    assert isinstance(clip, TorchClip)
    return clip


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_bucket_is_recorded_and_embeds_as_the_cpu_does(small_folder: Path, precision: Precision) -> None:
    with capture_logs() as logs:
        clip = clip_on("cuda:0", small_folder, precision)
    assert [line for line in logs if line["log_level"] == "warning"] == []
    assert clip._images.recorded == tuple(image_shapes(SIZE))
    assert clip._texts.recorded == tuple(text_shapes(CONTEXT, any_length=True))
    assert clip.info.calls == CudaAccelerator.calls
    plain = clip_on("cpu", small_folder, "fp32")
    random = np.random.default_rng(0)
    for items in (1, 3, 8, 100, 130):
        pixels = random.integers(0, 256, (items, SIZE, SIZE, 3), dtype=np.uint8)
        assert least_cosine(clip.embed_pixels(pixels), plain.embed_pixels(pixels)) >= LEAST_COSINE[precision]
        texts = (TEXTS * 60)[:items]
        ours, theirs = clip.embed_texts(texts), plain.embed_texts(texts)
        assert least_cosine(ours.embeddings, theirs.embeddings) >= LEAST_COSINE[precision]


def test_calls_at_once_do_not_mix(small_folder: Path) -> None:
    clip, random = clip_on("cuda:0", small_folder, "fp32"), np.random.default_rng(0)
    batches = [random.integers(0, 256, (1 + number % 70, SIZE, SIZE, 3), dtype=np.uint8) for number in range(300)]
    alone = [clip.embed_pixels(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(clip.embed_pixels, batches))
    for ours, theirs in zip(together, alone, strict=True):
        assert least_cosine(ours, theirs) > 0.99999


def test_without_recordings_calls_at_once_do_not_mix_either(small_folder: Path) -> None:
    clip, random = clip_on("cuda:0", small_folder, "fp32"), np.random.default_rng(0)
    clip.forget_recordings()
    batches = [random.integers(0, 256, (1 + number % 70, SIZE, SIZE, 3), dtype=np.uint8) for number in range(300)]
    alone = [clip.embed_pixels(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(clip.embed_pixels, batches))
    for ours, theirs in zip(together, alone, strict=True):
        assert least_cosine(ours, theirs) > 0.99999


def test_serving_takes_no_more_memory_as_time_goes_by(small_folder: Path) -> None:
    clip, random = clip_on("cuda:0", small_folder, "bf16"), np.random.default_rng(0)
    pixels = random.integers(0, 256, (128, SIZE, SIZE, 3), dtype=np.uint8)
    for _ in range(3):
        clip.embed_pixels(pixels)
    before = torch.cuda.memory_reserved(0)
    for items in range(1, 129):
        clip.embed_pixels(pixels[:items])
    assert torch.cuda.memory_reserved(0) <= before + (4 << 20)
