"""The rule: how many replicas, when, and how far at a time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.autoscaling.manifest import ENCODER, Direction, Policy, Query, Rule, Unknown, read_rule
from loadtests.autoscaling.rule import Autoscaler
from loadtests.planning import erlang_c
from tests.kustomize import build

AT_ONCE = Direction(0.0, (Policy(100, percent=True, period=1e-9),))
RULE = Rule(Query("s", {}, 60.0), target=16.0, least=1, most=10, up=AT_ONCE, down=AT_ONCE)


@pytest.mark.parametrize(
    ("load", "replicas", "expected"),
    [
        (16.0, 1, 1),
        (17.5, 1, 1),  # within the tolerance of 10 %
        (17.7, 1, 2),
        (48.1, 1, 4),
        (48.1, 3, 3),
        (43.3, 3, 3),
        (43.1, 3, 3),
        (28.7, 2, 2),  # 0.897 of the target, and two are still needed
        (16.1, 2, 2),
        (15.9, 2, 1),
        (0.0, 3, 0),
    ],
)
def test_so_many_that_none_has_more_than_the_target(load: float, replicas: int, expected: int) -> None:
    assert Autoscaler(RULE).desired(load, replicas) == expected


def test_never_fewer_than_the_least_nor_more_than_the_most() -> None:
    autoscaler = Autoscaler(replace(RULE, least=2, most=5, up=Direction(0.0, (Policy(9, percent=False, period=1.0),))))
    assert autoscaler.decide(0.0, 0.0, 3) == 2
    assert autoscaler.decide(1.0, 1000.0, 2) == 5


def test_on_the_way_down_the_highest_of_the_window_holds() -> None:
    autoscaler = Autoscaler(replace(RULE, down=Direction(300.0, (Policy(100, percent=True, period=1.0),))))
    assert autoscaler.decide(0.0, 40.0, 3) == 3
    assert autoscaler.decide(15.0, 20.0, 3) == 3
    assert autoscaler.decide(200.0, 30.0, 3) == 3
    assert autoscaler.decide(310.0, 10.0, 3) == 2, (
        "the 3 of the beginning is out of the window, the 2 of 200 s is in it"
    )
    assert autoscaler.decide(501.0, 10.0, 2) == 1


def test_on_the_way_up_nothing_is_waited_for() -> None:
    autoscaler = Autoscaler(replace(RULE, down=Direction(300.0, ())))
    assert autoscaler.decide(0.0, 1.0, 1) == 1
    assert autoscaler.decide(1.0, 30.0, 1) == 2


def test_policies_bound_how_far_it_goes_within_their_period() -> None:
    doubling = Direction(0.0, (Policy(100, percent=True, period=30.0),))
    one = Direction(0.0, (Policy(1, percent=False, period=60.0),))
    autoscaler = Autoscaler(replace(RULE, up=doubling, down=one))
    assert autoscaler.decide(0.0, 160.0, 1) == 2
    assert autoscaler.decide(15.0, 160.0, 2) == 2, "2 is twice what there was 30 s ago"
    assert autoscaler.decide(31.0, 160.0, 2) == 4
    assert autoscaler.decide(62.0, 160.0, 4) == 8
    assert autoscaler.decide(130.0, 0.0, 8) == 7
    assert autoscaler.decide(160.0, 0.0, 7) == 7, "7 is one less than there were a minute ago"
    assert autoscaler.decide(191.0, 0.0, 7) == 6


def test_the_rule_is_that_of_the_manifest() -> None:
    (scaled,) = build(ENCODER.parent)
    spec = scaled["spec"]
    rule = read_rule()
    assert (rule.target, rule.least, rule.most) == (
        float(spec["triggers"][0]["metadata"]["threshold"]),
        spec["minReplicaCount"],
        spec["maxReplicaCount"],
    )
    assert rule.query == Query(
        "crossmodal_item_seconds_total", {"namespace": "crossmodal", "job": "crossmodal-encoder"}, 60.0
    )
    assert rule.up == Direction(0, (Policy(100, percent=True, period=30),))
    assert rule.down == Direction(600, (Policy(1, percent=False, period=60),))


def test_clocks_that_run_faster_change_the_times_alone() -> None:
    rule, fast = read_rule(), read_rule().faster(20)
    assert (fast.every, fast.query.window, fast.down.window) == (0.75, 3.0, 30.0)
    assert (fast.up.policies[0].period, fast.down.policies[0].period) == (1.5, 3.0)
    assert (fast.target, fast.least, fast.most, fast.tolerance) == (rule.target, rule.least, rule.most, rule.tolerance)
    assert (fast.query.series, fast.down.policies[0].value) == (rule.query.series, 1)


@pytest.mark.parametrize(
    "query",
    [
        "crossmodal_queued_items",
        "sum(crossmodal_queued_items)",
        "max(rate(x[1m]))",
        "sum by (pod) (rate(x[1m]))",
        "sum(irate(x[1m]))",
        'sum(rate(x{stage=~"a|b"}[1m]))',
        "sum(rate(x[1m])) * 2",
    ],
)
def test_a_query_of_another_form_is_not_guessed_at(query: str) -> None:
    with pytest.raises(Unknown):
        Query.parse(query)


def test_neither_is_another_trigger_or_direction(tmp_path: Path) -> None:
    text = ENCODER.read_text()
    for old, new in (
        ("metricType: AverageValue", "metricType: Value"),
        ("scaleUp:", "scaleUp:\n          selectPolicy: Min"),
    ):
        assert old in text
        path = tmp_path / "scaledobject.yaml"
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(Unknown):
            read_rule(path)


def course(rule: Rule, shown: Callable[[float, float], float], *, busy: float, rounds: int = 80) -> list[int]:
    """Replicas, decision by decision, where ``busy`` of them are on average; ``shown`` makes a metric of waiting and busy."""
    autoscaler, replicas, queue, found = Autoscaler(rule), 1, 0.0, []
    for number in range(rounds):
        short = (
            busy - replicas
        )  # the queue grows while there are too few, and is worked off by those there are too many
        queue = max(0.0, queue + short * 100)
        waiting = queue if queue or short >= 0 else erlang_c(replicas, busy) * busy / (replicas - busy)
        replicas = autoscaler.decide(number * rule.every, shown(waiting, min(busy, replicas)), replicas)
        found.append(replicas)
    return found


def test_what_is_in_flight_settles_where_what_waits_alone_swings() -> None:
    down = Direction(60.0, (Policy(1, percent=False, period=15.0),))
    up = Direction(0.0, (Policy(100, percent=True, period=15.0),))
    rule = replace(RULE, target=0.75, most=20, up=up, down=down, every=15.0)
    settled = course(rule, lambda waiting, computed: waiting + computed, busy=3.0)[-30:]
    assert set(settled) == {5}  # at 60 %
    swinging = course(replace(rule, target=1.0), lambda waiting, _: waiting, busy=3.0)[-30:]
    assert {2, 4} <= set(swinging), "2 are fewer than are busy: the queue grows until there are 4, which have none"
