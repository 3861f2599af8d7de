"""Encoders that come, go, are replaced and are killed under load: nobody who asks the API notices."""

from dataclasses import replace

import pytest

from loadtests.autoscaling import report
from loadtests.autoscaling.driver import Course, Setting, run
from loadtests.autoscaling.manifest import read_rule
from loadtests.autoscaling.phases import MIX, parse

PHASES = "1x6 40x16 1x36:update"
"""1 and 40 times are so far apart that one encoder is enough for the one, and two are not for the other, on any machine."""
RATE = 0.4


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    rule = replace(read_rule().faster(40), target=6.0, most=3)
    folder = tmp_path_factory.mktemp("scaled")
    course = run(Setting(rule, parse(PHASES), RATE, seed=1), folder)
    report.write(course, folder / "report")
    assert (folder / "report" / "autoscaling.png").stat().st_size > 10_000
    return course


def test_every_request_is_answered(course: Course) -> None:
    total = course.arrivals.corrected.total()
    assert (total.shed, dict(total.faults)) == (0, {}), course.lines
    assert total.ok > 100
    assert set(course.arrivals.corrected.kinds()) == set(MIX)


def test_encoders_follow_the_load_up_and_down(course: Course) -> None:
    wanted = [moment.desired for moment in course.moments]
    assert (wanted[0], max(wanted)) == (1, 3)
    assert max(moment.ready for moment in course.moments) >= 2
    assert min(moment.desired for moment in course.moments if moment.second > 22) < 3


def test_all_were_replaced_and_ended_as_they_should(course: Course) -> None:
    assert course.faults == []
    said = "\n".join(course.lines)
    assert "rolling update is done" in said
    assert said.count("ended with status 0") >= 3
