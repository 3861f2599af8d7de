"""The command line: what is refused before a model is loaded, what is printed, drawn and written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from crossmodal.search.metrics import success_at
from indexer.cli import app
from indexer.evaluation.embedding import Embedded
from indexer.evaluation.in_memory import rank_pairs
from indexer.evaluation.plot import draw
from indexer.evaluation.report import document, table
from indexer.evaluation.results import Measured, pair_metrics, query_metrics
from tests.fakes import info
from tools.servers import ROOT

GOOD = json.dumps({"image": "a.png", "caption": "red"})
QUERY = json.dumps({"query": "red", "relevant": ["a"]})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    file.write_text(GOOD)
    return file


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(QUERY)
    return queries


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def refused(result: Result, why: str) -> None:
    """Nothing on stdout, 2 as status, and on stderr one line that says why."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"indexer: {why}"), line


def test_one_kind_of_file_is_needed(file: Path, queries: Path) -> None:
    refused(run("eval"), "exactly one of --pairs and --queries is needed")
    refused(run("eval", "--pairs", file, "--queries", queries), "exactly one of --pairs and --queries is needed")


def test_options_that_mean_nothing_are_refused(file: Path, queries: Path, tmp_path: Path) -> None:
    refused(run("eval", "--queries", queries, "--through-store"), "--through-store and --captions go with --pairs")
    refused(run("eval", "--queries", queries, "--captions", "5"), "--through-store and --captions go with --pairs")
    refused(run("eval", "--queries", queries, "--tenant", "../x"), "--tenant is 1 to 64 of a-z")
    refused(
        run("eval", "--pairs", file, "--require", "recall=1"), "--require 'recall=1' is not METRIC:DIRECTION=NUMBER"
    )
    refused(
        run("eval", "--pairs", file, "--require", "success@1:text-to-image=1"), "--require 'success@1' is not measured"
    )
    refused(run("eval", "--queries", queries, "--require", "mrr:image-to-text=1"), "--require 'image-to-text' is not")
    nowhere = tmp_path / "nowhere" / "out.json"
    refused(run("eval", "--pairs", file, "--json", nowhere), f"{nowhere} cannot be written: its folder is not there")
    refused(run("eval", "--pairs", file, "--plot", tmp_path / "out.svg"), "--plot writes a .png, not out.svg")


def test_each_bad_line_is_a_line_on_stderr(file: Path) -> None:
    file.write_text(f'{GOOD}\n{{\n{GOOD}\n{{"image": "a.png"}}', encoding="utf-8")
    result = run("eval", "--pairs", file)
    assert (result.exit_code, result.stdout) == (2, "")
    first, second = result.stderr.splitlines()
    assert first.startswith("indexer: pairs.jsonl, line 2: not valid JSON")
    assert second == "indexer: pairs.jsonl, line 4: 'caption' or 'captions' is needed"


def test_without_matplotlib_a_plot_is_refused_at_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # what Python does where it is not installed
    result = run("eval", "--pairs", file, "--plot", tmp_path / "out.png")
    refused(result, "--plot needs matplotlib: uv pip install matplotlib, or pip install matplotlib")


def test_nothing_else_needs_matplotlib() -> None:
    code = "import sys, indexer.cli, crossmodal.wiring; print('matplotlib' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_karpathys_files_are_converted(tmp_path: Path) -> None:
    image = {"filename": "0.jpg", "filepath": "val2014", "split": "test", "sentences": [{"raw": "A red thing."}]}
    dataset, out = tmp_path / "dataset_coco.json", tmp_path / "pairs.jsonl"
    dataset.write_text(json.dumps({"images": [image]}))
    result = run("karpathy", dataset, "--out", out)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "1 pictures\n")
    assert json.loads(out.read_text()) == {"image": "val2014/0.jpg", "captions": ["A red thing."]}
    refused(
        run("karpathy", dataset, "--out", out, "--split", "val"), "dataset_coco.json has no picture of the split 'val'"
    )
    refused(run("karpathy", dataset, "--out", tmp_path / "a" / "b"), f"{tmp_path / 'a' / 'b'} cannot be written")


def measured() -> Measured:
    """Three pictures and four captions, of which the last finds its picture second."""
    captions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]], np.float32)
    directions, scores = rank_pairs(
        Embedded(np.eye(3, dtype=np.float32), [0, 1, 2], {}, []), Embedded(captions, [0, 1, 2, 3], {}, []), [0, 1, 2, 0]
    )
    counts = {"pictures": 4, "pictures_measured": 3, "captions": 5, "captions_measured": 4, "shared_captions": 0,
              "truncated_captions": 2}  # fmt: skip
    return Measured("in memory", directions, pair_metrics(), success_at, counts, [("x.png", "broken")], [], scores)


def test_the_table_says_what_was_measured() -> None:
    one = measured()
    results = {name: each.estimates(one.metrics, resamples=100, seed=0) for name, each in one.directions.items()}
    lines = list(table(one, results, info()))
    assert lines[:2] == [
        "model colours, fp32 on cpu; in memory",
        "3 of 4 pictures measured, 4 of 5 captions measured, 2 truncated captions",
    ]
    assert lines[3].split() == ["text-to-image", "image-to-text"]
    recall = lines[4].split()
    assert (recall[0], recall[1], recall[3:]) == ("recall@1", "0.750", ["1.000", "(1.000-1.000)"])
    assert lines[5].startswith("recall@5")
    assert lines[9].split() == ["queries", "4", "3"]
    assert lines[10].split() == ["searched", "3", "4"]


def test_the_document_holds_every_number() -> None:
    one = measured()
    results = {name: each.estimates(one.metrics, resamples=100, seed=0) for name, each in one.directions.items()}
    made = json.loads(json.dumps(document(one, results, info(), seed=0), allow_nan=False))
    by_text = made["directions"]["text-to-image"]
    assert (by_text["queries"], by_text["searched"], by_text["depth"]) == (4, 3, None)
    assert by_text["curve"] == [0.75, 1.0, 1.0]
    assert by_text["metrics"]["mrr"]["mean"] == 0.875
    assert 0.0 <= by_text["metrics"]["mrr"]["low"] <= 0.875 <= by_text["metrics"]["mrr"]["high"] <= 1.0
    assert made["unreadable"] == [{"name": "x.png", "reason": "broken"}]
    assert (made["model"]["name"], made["seed"], made["counts"]["pictures"]) == ("colours", 0, 4)
    assert made["scores"]["matches"]["p95"] == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("with_scores", [True, False])
def test_the_numbers_are_drawn(tmp_path: Path, *, with_scores: bool) -> None:
    one = measured()
    if not with_scores:
        one = Measured(one.how, one.directions, query_metrics(), one.curve, one.counts)
    draw(one, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1320, 540))
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert colours is not None
    # Both curves are there, in matplotlib's first two colours.
    assert {(31, 119, 180), (255, 127, 14)} <= {colour for _, colour in colours}
