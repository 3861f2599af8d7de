"""Percentiles and tallies of what came."""

import math
import random

import pytest

from loadtests.recording import Histogram, Recorder
from loadtests.traffic import SHED, Kind


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_percentiles_are_at_most_two_percent_too_high(share: float) -> None:
    drawn, histogram = random.Random(3), Histogram()
    latencies = sorted(drawn.lognormvariate(-3, 1) for _ in range(5000))
    for latency in latencies:
        histogram.add(latency)
    exact = latencies[max(1, math.ceil(share * 5000)) - 1]
    assert exact * (1 - 1e-9) <= histogram.percentile(share) <= exact * 1.0200001


def test_of_nothing_there_is_no_percentile() -> None:
    assert math.isnan(Histogram().percentile(0.5))


def test_no_latency_at_all_is_the_least_one() -> None:
    histogram = Histogram()
    histogram.add(0.0)
    assert histogram.percentile(0.5) == 1e-5


def test_memory_is_bounded_by_the_range_of_latencies() -> None:
    histogram = Histogram()
    for number in range(100_000):
        histogram.add(number * 65 / 100_000)
    assert len(histogram.counts) < 800


def recorded() -> Recorder:
    recorder = Recorder()
    recorder.add(Kind.LIST, 0.2, 0.010, None)
    recorder.add(Kind.LIST, 0.9, 0.020, None)
    recorder.add(Kind.BAD, 2.0, 0.5, "status 500, not 422")
    recorder.add(Kind.LIST, 2.1, 0.001, SHED)
    return recorder


def test_tallies() -> None:
    total = recorded().total()
    assert (total.ok, total.shed, total.failed, dict(total.faults)) == (2, 1, 1, {"status 500, not 422": 1})
    assert recorded().total(Kind.LIST).failed == 0
    assert recorded().total(seconds=lambda second: second > 0).ok == 0
    assert recorded().kinds() == [Kind.LIST, Kind.BAD]


def test_only_right_answers_have_latencies() -> None:
    assert recorded().total().latencies.counts.total() == 2


def test_the_timeline_has_every_second() -> None:
    assert [(second, tally.ok, tally.shed, tally.failed) for second, tally in recorded().timeline()] == [
        (0, 2, 0, 0),
        (1, 0, 0, 0),
        (2, 0, 1, 1),
    ]


def test_there_and_back() -> None:
    assert Recorder.from_json(recorded().as_json()) == recorded()
