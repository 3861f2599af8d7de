"""What Prometheus would answer to the query."""

import pytest

from loadtests.autoscaling.manifest import Query
from loadtests.autoscaling.metrics import Scraped, counter

QUERY = Query("crossmodal_item_seconds_total", {"job": "crossmodal-encoder", "namespace": "crossmodal"}, 60.0)
SHOWN = """\
# HELP crossmodal_item_seconds_total Seconds
# TYPE crossmodal_item_seconds_total counter
crossmodal_item_seconds_total 12.5
# HELP of_kinds_total By kind
# TYPE of_kinds_total counter
of_kinds_total{kind="text"} 3.0
of_kinds_total{kind="image"} 4.0
"""


def test_the_counter_of_one_replica() -> None:
    assert counter(SHOWN, QUERY) == 12.5
    assert counter(SHOWN, Query("of_kinds_total", {}, 60.0)) == 7.0
    assert counter(SHOWN, Query("of_kinds_total", {"kind": "text", "job": "x"}, 60.0)) == 3.0


@pytest.mark.parametrize("query", [Query("nothing_total", {}, 60.0), Query("of_kinds_total", {"kind": "sound"}, 60.0)])
def test_a_replica_that_does_not_show_it_is_an_error_and_not_a_load_of_0(query: Query) -> None:
    with pytest.raises(LookupError):
        counter(SHOWN, query)


def scraped(*samples: tuple[str, float, float]) -> Scraped:
    found = Scraped(60.0)
    for replica, when, value in samples:
        found.add(replica, when, value)
    return found


def test_the_rate_is_extrapolated_to_the_edges_of_the_window() -> None:
    steady = [("a", when, 1000 + 2.0 * when) for when in (45.0, 60.0, 75.0, 90.0)]
    assert scraped(*steady).rate(100.0) == pytest.approx(2.0)
    assert scraped(*steady, *(("b", when, value) for _, when, value in steady)).rate(100.0) == pytest.approx(4.0)


def test_one_that_came_lately_counts_from_when_it_came() -> None:
    new = scraped(("a", 80.0, 0.0), ("a", 90.0, 30.0), ("a", 100.0, 60.0))
    assert new.rate(100.0) == pytest.approx(60.0 / 60.0)
    running = scraped(("a", 80.0, 900.0), ("a", 90.0, 930.0), ("a", 100.0, 960.0))
    assert running.rate(100.0) == pytest.approx((60.0 + 3.0 * 5.0) / 60.0)  # half an interval before the first


def test_one_that_went_counts_less_and_less_and_then_no_more() -> None:
    went = scraped(*(("a", when, 1000 + 2.0 * when) for when in (45.0, 60.0, 75.0, 90.0)))
    assert went.rate(120.0) == pytest.approx(2.0 * (30.0 + 7.5) / 60.0)
    assert went.rate(140.0) is None  # one sample left: no answer
    assert went.rate(400.0) is None


def test_a_counter_that_began_anew_counts_from_0() -> None:
    restarted = scraped(("a", 40.0, 100.0), ("a", 60.0, 110.0), ("a", 80.0, 5.0), ("a", 100.0, 15.0))
    assert restarted.rate(100.0) == pytest.approx((10.0 + 5.0 + 10.0) / 60.0)


def test_before_there_are_two_samples_there_is_no_answer() -> None:
    assert scraped().rate(10.0) is None
    assert scraped(("a", 5.0, 1.0)).rate(10.0) is None
