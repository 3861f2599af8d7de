"""Load on a real service, by the commands that users call; locust runs in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from loadtests.slo import DEFAULT
from loadtests.traffic import MIXES, Kind
from tools.servers import ROOT, Server

pytestmark = pytest.mark.e2e
SECONDS = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("loaded"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def objectives(folder: Path, milliseconds: float) -> Path:
    """Of the project, with the same limit for every latency."""
    given = yaml.safe_load(DEFAULT.read_text())
    given["latency_ms"] = {kind.value: {"p50": milliseconds, "p99": milliseconds} for kind in Kind}
    path = folder / "slo.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def loadtests(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtests", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_a_run_starts_the_service_judges_it_and_leaves_a_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = loadtests("run", "--seconds", 6, "--users", 2, "--out", out, "--slo", objectives(tmp_path, 30_000))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((out / "report.json").read_text())
    assert found["kept"] is True
    assert {row["kind"] for row in found["kinds"]} == set(MIXES["mixed"])
    assert all(row["answered"] > 0 and row["faults"] == {} and row["shed"] == 0 for row in found["kinds"])
    assert "Objectives: kept" in (out / "report.html").read_text()
    assert 'href="locust.html"' in (out / "report.html").read_text()
    for name in ("timeline.png", "latencies.png", "locust.html"):
        assert (out / name).stat().st_size > 1000


def test_impossible_objectives_are_missed(tmp_path: Path, served: Server) -> None:
    slo = objectives(tmp_path, 0.001)
    out = tmp_path / "out"
    ended = loadtests("run", "--seconds", 2, "--users", 2, "--url", served.url, "--out", out, "--slo", slo)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "MISSED   search_text p50" in ended.stdout
    assert json.loads((out / "report.json").read_text())["kept"] is False


def test_open_arrivals_and_the_knee(tmp_path: Path, served: Server) -> None:
    slo = objectives(tmp_path, 30_000)
    ended = loadtests(
        "run", "--open", "--rate", 20, "--seconds", 2, "--url", served.url, "--out", tmp_path, "--slo", slo
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads((tmp_path / "report.json").read_text())["title"] == "mixed, open, 2 s, 20.0 arrivals a second"
    ended = loadtests("knee", "--seconds", 1, "--rounds", 1, "--most", 2, "--url", served.url, "--out", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "knee-search.json").read_text())
    assert [step["in_flight"] for step in found["steps"]] == [1, 2]
    assert all(set(step["statuses"]) == {"200"} for step in found["steps"])
    assert f"knee: {found['knee']['in_flight']} requests in flight" in ended.stdout


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    ended = loadtests("run", "--seconds", 1, "--url", "http://127.0.0.1:1", "--out", tmp_path)
    assert ended.returncode == 2
    assert "does not answer" in ended.stderr
    assert not list(tmp_path.iterdir())
