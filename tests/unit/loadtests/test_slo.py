"""The file of objectives, and what is held against them."""

from pathlib import Path

import pytest

from loadtests.autoscaling.phases import MIX
from loadtests.recording import Recorder
from loadtests.shapes import Shape
from loadtests.slo import DEFAULT, LEAST_FOR_P99, Check, Slo, judge, load_slo
from loadtests.traffic import MIXES, SHED, Kind

GOOD = """
share_of_knee: 0.7
knee:
  mixed: {in_flight: 10, goodput: 50}
  search: {in_flight: 20, goodput: 100, users: 5}
availability: 0.99
latency_ms:
  list: {p50: 100, p99: 200}
"""


def objectives(tmp_path: Path, text: str = GOOD) -> Slo:
    path = tmp_path / "slo.yaml"
    path.write_text(text)
    return load_slo(path)


def recorded(count: int, latency: float, faults: tuple[str, ...] = (), second: float = 0.0) -> Recorder:
    recorder = Recorder()
    for fault in (*faults, *[None] * (count - len(faults))):
        recorder.add(Kind.LIST, second, latency, fault)
    return recorder


def verdicts(checks: list[Check]) -> dict[str, bool | None]:
    return {check.what: check.kept for check in checks}


def test_the_load_is_a_share_of_the_knee(tmp_path: Path) -> None:
    found = objectives(tmp_path)
    assert (found.users("mixed"), found.rate("mixed")) == (7, 35)
    assert (found.users("search"), found.rate("search")) == (5, 70)
    with pytest.raises(ValueError, match=r"no knee of the mix 'upload', only of mixed, search"):
        found.rate("upload")


def test_the_file_of_the_project_names_every_kind() -> None:
    found = load_slo(DEFAULT)
    assert set(found.knee) == set(MIXES)
    assert set(found.latency_ms) == {kind for mix in MIXES.values() for kind in mix}
    assert (found.availability, found.share_of_knee) == (0.999, 0.7)
    assert set(found.latency_ms) | set(MIX) == set(Kind)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("p50: 100", "p50: 201", "cannot be above p99"),
        ("availability: 0.99", "availability: 99", "availability"),
        ("availability: 0.99", "availability: .nan", "availability"),
        ("share_of_knee: 0.7", "share_of_knee: 0", "share_of_knee"),
        ("  list:", "  lists:", "latency_ms.lists"),
        ("p99: 200", "p98: 200", "p98"),
        ("in_flight: 10", "in_flight: 0", "in_flight"),
        (GOOD, "", "valid dictionary"),
        (GOOD, "a: [", "holds no objectives"),
    ],
)
def test_a_wrong_file(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        objectives(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(("latency", "p50", "p99"), [(0.09, True, True), (0.15, False, True), (0.25, False, False)])
def test_latencies(tmp_path: Path, latency: float, p50: bool, p99: bool) -> None:  # noqa: FBT001 -- what is expected
    checks = judge(objectives(tmp_path), recorded(200, latency), Shape("steady", 7, 60))
    assert verdicts(checks) == {"availability": True, "list p50": p50, "list p99": p99}


def test_a_tail_is_seen_by_p99_alone(tmp_path: Path) -> None:
    recorder = recorded(190, 0.01)
    for _ in range(10):
        recorder.add(Kind.LIST, 0, 5.0, None)
    checks = judge(objectives(tmp_path), recorder, Shape("steady", 7, 60))
    assert verdicts(checks) == {"availability": True, "list p50": True, "list p99": False}


def test_too_few_for_a_p99(tmp_path: Path) -> None:
    checks = judge(objectives(tmp_path), recorded(LEAST_FOR_P99 - 1, 9.0), Shape("steady", 7, 60))
    assert verdicts(checks)["list p50"] is False
    assert verdicts(checks)["list p99"] is None


@pytest.mark.parametrize("fault", [SHED, "status 500, not 200"])
def test_availability(tmp_path: Path, fault: str) -> None:
    shape = Shape("steady", 7, 60)
    assert verdicts(judge(objectives(tmp_path), recorded(200, 0.01, (fault,) * 2), shape))["availability"] is True
    assert verdicts(judge(objectives(tmp_path), recorded(200, 0.01, (fault,) * 3), shape))["availability"] is False


def test_a_run_without_answers_is_not_available(tmp_path: Path) -> None:
    assert verdicts(judge(objectives(tmp_path), Recorder(), Shape("steady", 7, 60))) == {"availability": False}


@pytest.mark.parametrize(("fault", "kept"), [(SHED, True), ("status 500, not 200", False)])
def test_in_a_spike_shedding_is_no_failure_and_slowness_not_judged(tmp_path: Path, fault: str, kept: bool) -> None:  # noqa: FBT001 -- what is expected
    recorder = recorded(200, 0.01)
    for _ in range(100):
        recorder.add(Kind.LIST, 50, 9.0, fault)
        recorder.add(Kind.LIST, 50, 9.0, None)
    checks = judge(objectives(tmp_path), recorder, Shape("spike", 7, 100))
    assert verdicts(checks) == {
        "availability": True,
        "beyond the nominal load": kept,
        "list p50": True,
        "list p99": True,
    }
