"""The folder that a run leaves."""

import json
from pathlib import Path

import pytest

from loadtests.knee import Step
from loadtests.plots import plot_knee
from loadtests.recording import Recorder
from loadtests.report import Run, lines, write
from loadtests.shapes import Shape
from loadtests.slo import Check
from loadtests.traffic import Kind

PNG = b"\x89PNG\r\n\x1a\n"


def run(*, kept: bool | None) -> Run:
    recorder = Recorder()
    for second in range(10):
        recorder.add(Kind.LIST, second, 0.01, None)
        recorder.add(Kind.BAD, second, 0.02, "status <500>, not 422")
    checks = [Check("availability", "at least 99.9 %", "<b>half</b>", kept)]
    return Run("mixed & steady", "users", Shape("spike", 2, 10), recorder, checks, recorder)


@pytest.mark.parametrize(("kept", "said"), [(True, "kept"), (False, "missed"), (None, "kept")])
def test_what_is_written(tmp_path: Path, *, kept: bool | None, said: str) -> None:
    write(run(kept=kept), tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "growth.png",
        "latencies.png",
        "report.html",
        "report.json",
        "timeline.png",
    }
    page = (tmp_path / "new" / "report.html").read_text()
    assert f"<h2>Objectives: {said}</h2>" in page
    assert "&lt;b&gt;half&lt;/b&gt;" in page
    assert "<b>half" not in page
    assert "status &lt;500&gt;" in page
    assert "locust.html" not in page
    for plot in ("latencies.png", "timeline.png"):
        assert plot in page
        assert (tmp_path / "new" / plot).read_bytes().startswith(PNG)


def test_the_numbers(tmp_path: Path) -> None:
    write(run(kept=True), tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["kept"] is True
    listed, bad = found["kinds"]
    assert (listed["kind"], listed["answered"], listed["failed"]) == ("list", 10, 0)
    assert listed["p50_ms"] == pytest.approx(10, rel=0.02)
    assert (bad["kind"], bad["answered"], bad["faults"]) == ("bad", 0, {"status <500>, not 422": 10})
    assert bad["p50_ms"] is None
    assert Recorder.from_json(found["seconds"]).total().ok == 10


def test_what_is_printed() -> None:
    assert lines(run(kept=False)) == [
        "MISSED   availability             at least 99.9 %          <b>half</b>",
        "10 times: status <500>, not 422",
        "p99 of all: 10.0 ms from when they were due, 10.0 ms from when they were sent",
    ]


def test_the_plot_of_a_knee(tmp_path: Path) -> None:
    plot_knee([Step(1, 5.0, 1.0, 2.0, {}), Step(2, 9.0, 1.0, 2.0, {})], tmp_path / "knee.png")
    assert (tmp_path / "knee.png").read_bytes().startswith(PNG)
