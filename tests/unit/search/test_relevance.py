import math

import pytest

from crossmodal.records import Modality
from crossmodal.search.relevance import UNFITTED, Calibration, Curve
from tests.builders import scored

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT


def test_the_curve_is_a_logistic_through_its_midpoint() -> None:
    curve = Curve(midpoint=0.25, slope=20.0)
    assert curve(0.25) == 0.5
    assert curve(0.35) == pytest.approx(1 / (1 + math.exp(-2)))
    assert curve(0.15) == pytest.approx(1 - curve(0.35))


@pytest.mark.parametrize("pair", UNFITTED)
def test_relevance_is_monotone_and_bounded_over_all_cosines(pair: str) -> None:
    relevances = [UNFITTED[pair](step / 100) for step in range(-100, 101)]
    assert relevances == sorted(relevances)
    assert 0 <= relevances[0] < 0.01
    assert 0.5 < relevances[-1] <= 1


def test_a_fitted_curve_replaces_only_its_pair() -> None:
    calibration = Calibration({"text-image": (0.6, 10.0)})
    assert calibration.relevance(TEXT, IMAGE, 0.6) == 0.5
    assert calibration.relevance(IMAGE, TEXT, 0.2) == 0.5


def test_a_hit_below_one_half_is_a_weak_match() -> None:
    calibration = Calibration({"text-image": (0.6, 10.0)})
    strong, weak = calibration.hit(TEXT, scored("a", 0.61)), calibration.hit(TEXT, scored("b", 0.59))
    assert (strong.weak_match, weak.weak_match) == (False, True)
    assert strong.score == 0.61
    assert weak.relevance == pytest.approx(1 / (1 + math.exp(0.1)))
