"""The metrics, against numbers worked out by hand, an independent slow implementation, and what must always hold."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.search.metrics import (
    Judged,
    estimate,
    judge,
    ndcg_at,
    recall_at,
    reciprocal_rank,
    success_at,
)

KS = (1, 2, 3, 5, 10)


def judged(scores: Sequence[float], gains: Sequence[float], ideal: Sequence[float] | None = None) -> Judged:
    return judge(np.array(scores, np.float32), np.array(gains), None if ideal is None else np.array(ideal))


def numbers(one: Judged) -> list[float]:
    """Every metric at every k."""
    return [reciprocal_rank(one), *(f(one, k) for f in (success_at, recall_at, ndcg_at) for k in KS)]


def slow_numbers(order: list[float], every: list[float]) -> list[float]:
    """The same from the gains in the order of the ranking, item by item, with nothing shared with the real ones."""
    first = next((place for place, gain in enumerate(order, 1) if gain > 0), None)
    success, recall, ndcg = [], [], []
    for k in KS:
        top = order[:k]
        success.append(1.0 if any(gain > 0 for gain in top) else 0.0)
        recall.append(sum(gain > 0 for gain in top) / len(every))
        best = sorted(every, reverse=True)[:k]
        dcg, ideal = (sum(g / math.log2(i + 2) for i, g in enumerate(each)) for each in (top, best))
        ndcg.append(dcg / ideal)
    return [0.0 if first is None else 1 / first, *success, *recall, *ndcg]


def slow(scores: list[float], gains: list[float]) -> list[float]:
    pairs = sorted(zip(scores, gains, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return slow_numbers([gain for _, gain in pairs], [gain for gain in gains if gain > 0])


# Few distinct scores, so that ties are common.
RANKINGS = st.lists(
    st.tuples(st.sampled_from([-0.5, 0.0, 0.125, 0.25, 0.5]), st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0])),
    min_size=1,
    max_size=14,
).filter(lambda pairs: any(gain for _, gain in pairs))


def test_one_relevant_item_by_hand() -> None:
    third = judged([0.9, 0.8, 0.7, 0.1], [0, 0, 1, 0])
    assert third.ranks.tolist() == [3]
    assert reciprocal_rank(third) == pytest.approx(1 / 3)
    assert [success_at(third, k) for k in (1, 2, 3)] == [0, 0, 1]
    assert [recall_at(third, k) for k in (1, 2, 3)] == [0, 0, 1]
    assert [ndcg_at(third, k) for k in (1, 2)] == [0, 0]
    assert ndcg_at(third, 3) == pytest.approx(0.5)  # 1 / log2(4)


def test_several_relevant_items_by_hand() -> None:
    one = judged([0.9, 0.8, 0.7, 0.6, 0.5], [0, 1, 0, 1, 1])
    assert one.ranks.tolist() == [2, 4, 5]
    assert success_at(one, 2) == 1.0
    assert recall_at(one, 2) == pytest.approx(1 / 3)
    assert recall_at(one, 4) == pytest.approx(2 / 3)
    # 1/log2(3) + 1/log2(5) + 1/log2(6) over 1 + 1/log2(3) + 1/log2(4)
    assert ndcg_at(one, 10) == pytest.approx((0.6309298 + 0.4306766 + 0.3868528) / 2.1309298, abs=1e-6)


def test_grades_by_hand() -> None:
    # Järvelin and Kekäläinen's example of graded gains, its first six ranks: 3 2 3 0 0 1.
    one = judged([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [3, 2, 3, 0, 0, 1])
    got = 3 + 2 / math.log2(3) + 3 / 2 + 1 / math.log2(7)
    best = 3 + 3 / math.log2(3) + 2 / 2 + 1 / math.log2(5)
    assert ndcg_at(one, 6) == pytest.approx(got / best)


def test_ties_count_against() -> None:
    assert judged([0.5, 0.5, 0.5, 0.1], [1, 0, 0, 0]).ranks.tolist() == [3]
    graded = judged([0.5, 0.5, 0.5], [3, 1, 0])
    assert (graded.ranks.tolist(), graded.gains.tolist()) == ([2, 3], [1, 3])
    assert success_at(judged([0.0] * 100, [1] + [0] * 99), 99) == 0.0


def test_what_was_not_found_counts_as_missed() -> None:
    none = judged([0.9, 0.8], [0, 0], ideal=[1, 1])
    assert numbers(none) == [0.0] * len(numbers(none))
    half = judged([0.9, 0.8], [1, 0], ideal=[2, 1])
    assert recall_at(half, 10) == 0.5
    assert ndcg_at(half, 10) == pytest.approx(1 / (2 + 1 / math.log2(3)))


def test_what_is_no_ranking_is_refused() -> None:
    for scores, gains, why in (
        ([0.1, 0.2], [1.0], "one length"),
        ([math.nan, 0.2], [1.0, 0.0], "finite"),
        ([0.1, 0.2], [-1.0, 1.0], "not negative"),
        ([0.1, 0.2], [0.0, 0.0], "at least one relevant"),
        ([], [], "at least one relevant"),
    ):
        with pytest.raises(ValueError, match=why):
            judged(scores, gains)


@settings(deadline=None)
@given(RANKINGS)
def test_an_independent_implementation_agrees(pairs: list[tuple[float, float]]) -> None:
    scores, gains = map(list, zip(*pairs, strict=True))
    assert numbers(judged(scores, gains)) == pytest.approx(slow(scores, gains))


@settings(deadline=None)
@given(RANKINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(pairs: list[tuple[float, float]], random: object) -> None:
    before = numbers(judged(*map(list, zip(*pairs, strict=True))))
    random.shuffle(pairs)  # type: ignore[attr-defined]  # hypothesis' Random
    assert numbers(judged(*map(list, zip(*pairs, strict=True)))) == before


@settings(deadline=None)
@given(RANKINGS)
def test_all_numbers_lie_between_0_and_1_and_grow_with_k(pairs: list[tuple[float, float]]) -> None:
    one = judged(*map(list, zip(*pairs, strict=True)))
    assert all(0.0 <= each <= 1.0 + 1e-12 for each in numbers(one))
    for metric in (success_at, recall_at):
        assert sorted(metric(one, k) for k in KS) == [metric(one, k) for k in KS]


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=1, max_size=14).filter(any))
def test_a_perfect_ranking_is_1(gains: list[float]) -> None:
    one = judged(gains, gains)
    assert reciprocal_rank(one) == success_at(one, 1) == 1.0
    assert recall_at(one, len(gains)) == 1.0
    assert [ndcg_at(one, k) for k in KS] == pytest.approx([1.0] * len(KS))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5]), st.sampled_from([0.0, 1.0, 2.0])), min_size=1, max_size=6).filter(
        lambda pairs: any(gain for _, gain in pairs)
    )
)
def test_no_way_to_break_ties_is_worse(pairs: list[tuple[float, float]]) -> None:
    every = [gain for _, gain in pairs if gain > 0]
    orders = [
        [gain for _, gain in order]
        for order in itertools.permutations(pairs)
        if all(first[0] >= second[0] for first, second in itertools.pairwise(order))
    ]
    worst = [min(each) for each in zip(*(slow_numbers(order, every) for order in orders), strict=True)]
    assert numbers(judged(*map(list, zip(*pairs, strict=True)))) == pytest.approx(worst)


def test_a_known_interval() -> None:
    # 400 queries, half of them right: the mean's standard error is 0.025, so 95 % lie within 0.049.
    values = np.tile([[1.0, 0.5], [0.0, 0.5]], (200, 1))
    half, constant = estimate(values, range(400), resamples=4000, seed=1)
    assert half.mean == 0.5
    assert half.low == pytest.approx(0.451, abs=0.006)
    assert half.high == pytest.approx(0.549, abs=0.006)
    assert (constant.low, constant.high) == pytest.approx((0.5, 0.5))
    assert estimate(values, range(400), resamples=4000, seed=1)[0] == half
    assert estimate(values, range(400), resamples=4000, seed=2)[0] != half


def test_queries_of_a_cluster_are_drawn_together() -> None:
    values = np.repeat([[1.0], [0.0]], 200, axis=0)
    apart = estimate(values, range(400), resamples=2000, seed=1)[0]
    together = estimate(values, np.repeat(np.arange(80), 5), resamples=2000, seed=1)[0]
    # 80 independent draws instead of 400: the interval is the square root of 5 as wide.
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(math.sqrt(5), rel=0.1)


def test_no_query_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no query"):
        estimate(np.zeros((0, 3)), [], resamples=10, seed=0)


def test_clusters_of_unequal_sizes_weigh_by_their_queries() -> None:
    (all_right,) = estimate(np.ones((6, 1)), [0, 0, 0, 0, 1, 2], resamples=200, seed=0)
    assert (all_right.mean, all_right.low, all_right.high) == (1.0, 1.0, 1.0)
