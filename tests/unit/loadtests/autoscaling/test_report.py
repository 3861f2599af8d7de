"""What is left of a run, from a course that is made up."""

import json
from pathlib import Path

import pytest

from loadtests.autoscaling import report
from loadtests.autoscaling.driver import Course, Moment, Setting
from loadtests.autoscaling.manifest import read_rule
from loadtests.autoscaling.phases import parse
from loadtests.traffic import SHED, Kind


@pytest.fixture
def course() -> Course:
    course = Course(Setting(read_rule(), parse("1x4 4x6:kill"), rate=2.0), lines=["    0.0 s  begun"], again=(1, 2))
    for second in range(10):
        course.moments.append(Moment(second, None if not second else 4.0 * second, 1 + second // 5, 1, second // 5, 0))
        course.arrivals.corrected.add(Kind.EMBED_TEXTS, second, 0.1 * (second + 1), None)
    course.arrivals.corrected.add(Kind.SEARCH_TEXT, 3.9, 0.5, SHED)
    course.arrivals.corrected.add(Kind.SEARCH_TEXT, 4.0, 0.5, "status 503, not 200")
    return course


def test_every_request_is_counted_in_the_phase_in_which_it_was_due(course: Course) -> None:
    first, second = report.phases(course)
    assert (first["phase"], first["sent"], first["200"], first["429"], first["failed"]) == ("1x", 5, 4, 1, {})
    assert (second["phase"], second["sent"], second["200"]) == ("4x kill", 7, 6)
    assert second["failed"] == {"status 503, not 200": 1}
    assert (first["mean_in_flight"], second["mean_in_flight"]) == (8.0, 26.0)  # of the moments that had an answer
    assert (first["desired"], second["desired"]) == ("1 to 1, 1 in the end", "1 to 2, 2 in the end")
    assert first["slowest_ms"] == pytest.approx(400, rel=0.03)


def test_what_is_printed_names_each_fault(course: Course) -> None:
    course.faults.append("encoder-1 ended with status 1")
    printed = report.lines(course)
    assert "10 requests answered as they should be, 1 shed with 429, 1 failed" in printed
    assert "1 times: status 503, not 200" in printed
    assert "the balancer tried again 1 times at the same encoder, 2 times at another" in printed
    assert "fault: encoder-1 ended with status 1" in printed


def test_what_is_kept_is_small_and_can_be_read_again(course: Course, tmp_path: Path) -> None:
    report.write(course, tmp_path)
    kept = json.loads((tmp_path / "autoscaling.json").read_text())
    assert kept["phases"] == report.phases(course)
    assert len(kept["moments"]) == 10
    assert (tmp_path / "transcript.txt").read_text().startswith("    0.0 s  begun\n\n| phase |")
    assert 10_000 < (tmp_path / "autoscaling.png").stat().st_size < 150_000
