"""`python -m indexer calibrate`, on a part of the sample gallery in an embedded store."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import small_gallery
from tools.servers import run_indexer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    gallery = small_gallery(folder / "gallery")
    assert run_indexer(folder, "images", str(gallery / "images")).returncode == 0
    assert run_indexer(folder, "texts", str(gallery / "captions.jsonl")).returncode == 0
    return folder


def test_what_is_measured_is_shown_kept_and_forgotten(folder: Path) -> None:
    kept = folder / "data" / "store" / "statistics.json"
    fitted = run_indexer(folder, "calibrate", "--by", "object")
    assert fitted.returncode == 0
    rows = {line.split()[0]: line.split() for line in fitted.stdout.splitlines() if "-" in line.split()[0]}
    assert set(rows) == {"text-image", "image-text", "image-image", "text-text"}
    statistics = json.loads(kept.read_text())
    for pair, row in rows.items():
        assert float(row[2]) == pytest.approx(statistics[pair]["mean"], abs=1e-3)
        assert float(row[3]) == pytest.approx(statistics[pair]["std"], abs=1e-3)
    # Pictures and captions of one object are clearly nearer than others to this model.
    assert rows["text-image"][-1] == "fitted"
    assert statistics["text-image"]["mean"] < statistics["text-image"]["midpoint"] < 0.6
    assert run_indexer(folder, "calibrate", "--reset").returncode == 0
    assert json.loads(kept.read_text()) == {}


def test_what_cannot_be_measured_is_one_line(folder: Path) -> None:
    nobody = run_indexer(folder, "calibrate", "--tenant", "nobody")
    assert nobody.returncode == 2
    assert nobody.stderr.splitlines()[-1].startswith("indexer: there are too few items to measure: 0 of modality image")
    assert run_indexer(folder, "calibrate", "--tenant", "No Name").returncode == 2
