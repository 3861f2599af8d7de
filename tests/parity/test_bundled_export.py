"""The bundled model's export, which CPUs run, against its weights in PyTorch."""

import json

import numpy as np
import pytest

from crossmodal.clip.base import ClipModel
from crossmodal.clip.device import Precision
from crossmodal.clip.loading import load_model
from crossmodal.clip.openvino_runtime import OpenVinoClip, native_precision
from crossmodal.clip.self_check import LEAST_COSINE
from crossmodal.imaging import prepare
from tools.servers import ROOT

GALLERY = ROOT / "samples/images"


@pytest.fixture(scope="module")
def weights() -> ClipModel:
    return load_model("tiny", device="cpu", precision="fp32", runtime="torch")


@pytest.mark.parametrize("precision", sorted({"fp32", native_precision()}))
def test_the_export_is_of_the_weights_beside_it(weights: ClipModel, precision: Precision) -> None:
    model = load_model("tiny", device="cpu", precision=precision)
    assert type(model) is OpenVinoClip  # stale or damaged it would have been passed over or refused
    assert model.info.fingerprint == weights.info.fingerprint
    assert model.info.calibration == weights.info.calibration
    lines = (GALLERY / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    described = [json.loads(line) for line in lines]
    pictures = [(GALLERY / each["file_name"]).read_bytes() for each in described]
    pixels = np.stack([prepare(content, model.info.preprocessing).pixels for content in pictures])
    texts = [each["caption"] for each in described]
    images = (model.embed_pixels(pixels) * weights.embed_pixels(pixels)).sum(axis=1)
    captions = (model.embed_texts(texts).embeddings * weights.embed_texts(texts).embeddings).sum(axis=1)
    # Of the gallery's photographs, which are not of its world, one loses more in bf16, in PyTorch as here.
    assert np.quantile(images, 0.01) >= LEAST_COSINE[precision]
    assert images.min() >= 0.995
    assert captions.min() >= LEAST_COSINE[precision]
