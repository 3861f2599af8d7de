import random

import pytest

from crossmodal.errors import ConfigurationError
from indexer.thresholds import MIN_EXAMPLES, Point, average_precision, choose, points

TEN = MIN_EXAMPLES


def curve_of(*scored: tuple[float, bool]) -> list[Point]:
    return points([score for score, _ in scored], [positive for _, positive in scored])


def test_a_perfect_order_has_average_precision_one_and_a_threshold_between_the_two() -> None:
    curve = curve_of(*[(0.9, True)] * TEN, *[(0.2, False)] * TEN)
    assert average_precision(curve) == 1.0
    assert [(point.flagged, point.right) for point in curve] == [(TEN, TEN), (2 * TEN, TEN)]
    chosen = choose(curve)
    assert chosen is not None
    assert (chosen.threshold, chosen.precision, chosen.recall, chosen.f1) == (0.55, 1.0, 1.0, 1.0)


def test_precision_and_recall_at_each_threshold() -> None:
    curve = curve_of(*[(0.9, True)] * 8, (0.8, False), (0.8, True), (0.5, False), (0.4, True), *[(0.1, False)] * 8)
    assert [(point.precision, point.recall) for point in curve] == [
        (1.0, 0.8),
        (0.9, 0.9),
        (pytest.approx(9 / 11), 0.9),
        (pytest.approx(10 / 12), 1.0),
        (0.5, 1.0),
    ]
    # Equal scores are flagged together, so the order within them does not count: 0.8 * 1 + 0.1 * 0.9 + 0.1 * 10 / 12.
    assert average_precision(curve) == pytest.approx(0.8 + 0.09 + 1 / 12)


def test_a_threshold_flags_what_its_point_says() -> None:
    rng = random.Random(3)
    scores = [rng.choice([rng.random(), rng.random() * 1e-9, 1 - rng.random() * 1e-12, 0.5, 0.0]) for _ in range(200)]
    positive = [rng.random() < score / 2 + 0.2 for score in scores]
    for point in points(scores, positive):
        flagged = [is_positive for score, is_positive in zip(scores, positive, strict=True) if score >= point.threshold]
        assert (len(flagged), sum(flagged)) == (point.flagged, point.right)
        assert 0.0 <= point.threshold <= 1.0


def test_the_best_f1_or_the_best_recall_at_a_precision() -> None:
    curve = curve_of(*[(0.9, True)] * 5, *[(0.6, True), (0.6, False)] * 5, *[(0.1, False)] * 10)
    best, precise = choose(curve), choose(curve, 0.9)
    assert best is not None
    assert precise is not None
    assert best.recall == 1.0
    assert best.precision == pytest.approx(2 / 3)
    assert (precise.recall, precise.precision) == (0.5, 1.0)
    assert choose(curve_of(*[(0.5, True), (0.5, False)] * TEN), 0.9) is None


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="9 examples are of it and 50 are not; at least 10 of each are needed"):
        curve_of(*[(0.9, True)] * 9, *[(0.1, False)] * 50)
    with pytest.raises(ConfigurationError, match="50 examples are of it and 9 are not"):
        curve_of(*[(0.9, True)] * 50, *[(0.1, False)] * 9)
