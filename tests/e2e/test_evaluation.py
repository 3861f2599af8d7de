"""`python -m indexer eval` on the sample gallery with the bundled model, against OpenCLIP's own numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.servers import ROOT, run_indexer
from tools.tiny_clip.loading import Encoder

pytestmark = pytest.mark.e2e

PAIRS = ROOT / "samples" / "images" / "metadata.jsonl"
# As OpenCLIP computes: its pixels, 32 bits.
AS_OPENCLIP = {"PRECISION": "fp32", "PREPROCESSING": "reference"}


def mean_of(cosines: np.ndarray) -> dict[str, float]:
    """The numbers of one direction from cosines [n, n] whose diagonal belongs together."""
    ranks = (cosines >= np.diag(cosines)[:, None]).sum(axis=1)
    recall = {f"recall@{k}": float((ranks <= k).mean()) for k in (1, 5, 10)}
    ndcg = np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0.0)
    return recall | {"mrr": float((1 / ranks).mean()), "ndcg@10": float(ndcg.mean())}


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, float]]:
    """What OpenCLIP's own model, transform and tokenizer give, each pair by each."""
    encoder = Encoder(ROOT / "models" / "tiny")
    entries = [json.loads(line) for line in PAIRS.read_text().splitlines()]
    images = encoder.images([Image.open(PAIRS.parent / entry["file_name"]) for entry in entries]).numpy()
    texts = encoder.texts([entry["caption"] for entry in entries]).numpy()
    cosines = texts.astype(np.float64) @ images.astype(np.float64).T
    return {"text-to-image": mean_of(cosines), "image-to-text": mean_of(cosines.T)}


def means(file: Path) -> dict[str, dict[str, float]]:
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {
        name: {metric: each["mean"] for metric, each in direction["metrics"].items()}
        for name, direction in document["directions"].items()
    }


def test_the_sample_gallery_as_openclip_ranks_it(tmp_path: Path, expected: dict[str, dict[str, float]]) -> None:
    out = tmp_path / "out.json"
    done = run_indexer(
        tmp_path,
        *("eval", "--pairs", str(PAIRS), "--json", str(out), "--plot", str(tmp_path / "out.png")),
        *("--require", "recall@1:text-to-image=0.9", "--require", "mrr:image-to-text=0.999"),
        **AS_OPENCLIP,
    )
    assert done.returncode == 1, done.stderr
    (missed,) = [line for line in done.stderr.splitlines() if line.startswith("missed: ")]
    assert missed.startswith("missed: mrr:image-to-text is 0.9")
    assert missed.endswith("below the required 0.999")
    found = means(out)
    assert found.keys() == expected.keys()
    for direction, numbers in expected.items():
        assert found[direction] == pytest.approx(numbers, abs=1e-9)
        row = next(line for line in done.stdout.splitlines() if line.startswith("recall@1 "))
        assert f"{numbers['recall@1']:.3f}" in row
    assert "441 of 441 pictures measured, 441 of 441 captions measured" in done.stdout
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    # The user's own collection was not made, let alone changed.
    assert not (tmp_path / "data").exists()


def test_through_a_store_the_numbers_are_the_same(tmp_path: Path, expected: dict[str, dict[str, float]]) -> None:
    out = tmp_path / "out.json"
    done = run_indexer(
        tmp_path,
        *("eval", "--pairs", str(PAIRS), "--through-store", "--depth", "500", "--strict", "--json", str(out)),
        **AS_OPENCLIP,
    )
    assert done.returncode == 0, done.stderr
    found = means(out)
    for direction, numbers in expected.items():
        assert found[direction] == pytest.approx(numbers, abs=1e-9)
    assert "(edge)" in done.stdout
    assert not (tmp_path / "data").exists()


def test_labelled_queries_against_an_indexed_collection(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    names = ["three-bananas-on-a-blue-background", "two-dogs-on-a-blue-background", "four-bees-on-a-gray-background"]
    for name in names:
        (gallery / f"{name}.webp").write_bytes((PAIRS.parent / f"{name}.webp").read_bytes())
    lines = [json.dumps({"text": name.replace("-", " "), "id": name}) for name in names]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    assert run_indexer(tmp_path, "texts", str(tmp_path / "texts.jsonl")).returncode == 0
    queries = [{"query": {"image": f"{name}.webp"}, "relevant": [name]} for name in names]
    queries.append({"query": {"image": "nowhere.webp"}, "relevant": {"nobody": 2}})
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    asked = ("eval", "--queries", str(tmp_path / "queries.jsonl"), "--images", str(gallery))
    required = ("--require", "recall@1:image-to-text=1", "--require", "overlap@10:image-to-text=1")
    done = run_indexer(tmp_path, *asked, *required)
    assert done.returncode == 0, done.stderr
    assert "3 of 4 queries measured" in done.stdout
    told = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert told == [
        f"unreadable: {gallery / 'nowhere.webp'}: the file cannot be read: No such file or directory",
        "not indexed: text nobody",
        "1 pictures could not be read and were left out",
        "1 relevant ids are not indexed and count as not found",
    ]
    strict = run_indexer(tmp_path, *asked, "--strict")
    assert (strict.returncode, strict.stdout) == (2, "")
    assert strict.stderr.splitlines()[-1].endswith("(--strict)")
