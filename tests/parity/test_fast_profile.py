"""The fast profile against OpenCLIP's own pixels: what its other pixels do to embeddings, and to what is found."""

import json
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from crossmodal.clip.base import ClipModel
from crossmodal.clip.loading import load_model
from crossmodal.imaging import prepare
from crossmodal.records import Embeddings, Preprocessing, Profile
from tests.parity.reference import random_model, runtime
from tests.photographs import SAMPLES, varied
from tests.pictures import encoded

LEAST_COSINE = 0.995
LEAST_OVERLAP = 0.98


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return varied()


@pytest.fixture(scope="module")
def tiny() -> ClipModel:
    return load_model("tiny", device="cpu", precision="fp32", runtime="torch")


def embedded(model: ClipModel, contents: list[bytes], profile: Profile, size: int) -> Embeddings:
    wanted = Preprocessing(size, "bicubic", "shortest", (0.5,) * 3, (0.5,) * 3, profile=profile)
    pixels = [prepare(content, wanted).pixels for content in contents]
    return np.concatenate([model.embed_pixels(np.stack(pixels[at : at + 16])) for at in range(0, len(pixels), 16)])


def check_cosines(model: ClipModel, files: dict[str, bytes], size: int) -> None:
    """The least percentile, and that the model tells these pictures apart, so that a cosine near 1 means something."""
    contents = list(files.values())
    fast, reference = (embedded(model, contents, each, size) for each in ("fast", "reference"))
    cosines = np.einsum("nd,nd->n", fast, reference)
    worst = list(files)[int(cosines.argmin())]
    print(f"fast to reference: p1 {np.percentile(cosines, 1):.5f}, least {cosines.min():.5f} ({worst})")  # noqa: T201 - with -s
    assert np.percentile(cosines, 1) >= LEAST_COSINE
    assert not np.array_equal(fast, reference)
    unlike = reference @ reference.T
    assert np.percentile(unlike, 10) < 1 - 4 * (1 - LEAST_COSINE)


def test_embeddings_of_the_bundled_model_are_close(tiny: ClipModel, files: dict[str, bytes]) -> None:
    check_cosines(tiny, files, tiny.info.preprocessing.size)


@pytest.mark.slow
def test_embeddings_of_vit_b_32_are_close(files: dict[str, bytes]) -> None:
    check_cosines(runtime("ViT-B-32", random_model("ViT-B-32")), files, 224)


def found(queries: Embeddings, items: Embeddings, limit: int = 10) -> list[set[int]]:
    return [set(row) for row in np.argsort(-(queries @ items.T), axis=1)[:, :limit].tolist()]


def overlap(ours: list[set[int]], theirs: list[set[int]]) -> float:
    return float(np.mean([len(one & other) / len(other) for one, other in zip(ours, theirs, strict=True)]))


def gallery() -> tuple[list[str], list[bytes]]:
    """Captions and pictures of the sample gallery; every third picture as a JPEG of 1000 pixels a side, to be scaled."""
    lines = (SAMPLES / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    contents = []
    for index, row in enumerate(rows):
        content = (SAMPLES / row["file_name"]).read_bytes()
        if index % 3 == 0:
            with Image.open(SAMPLES / row["file_name"]) as image:
                content = encoded(image.convert("RGB").resize((1000, 1000)), "JPEG", quality=90)
        contents.append(content)
    return [row["caption"] for row in rows], contents


def test_searches_find_the_same(tiny: ClipModel) -> None:
    captions, contents = gallery()
    assert len(contents) >= 400
    size = tiny.info.preprocessing.size
    texts = tiny.embed_texts(captions).embeddings
    items = {profile: embedded(tiny, contents, profile, size) for profile in get_args(Profile)}
    by_text = overlap(found(texts, items["fast"]), found(texts, items["reference"]))
    by_picture = overlap(found(items["fast"], items["fast"]), found(items["reference"], items["reference"]))
    print(f"the same of ten, fast and reference: by text {by_text:.4f}, by picture {by_picture:.4f}")  # noqa: T201 - with -s
    assert by_text >= LEAST_OVERLAP
    assert by_picture >= LEAST_OVERLAP
    assert by_text > overlap(found(texts, items["fast"]), found(np.roll(texts, 1, axis=0), items["reference"]))
