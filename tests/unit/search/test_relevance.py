import math

import numpy as np
import pytest

from crossmodal.records import Modality, PairName, PairStatistics
from crossmodal.search.relevance import UNFITTED, Calibration, logistic

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT
FITTED = PairStatistics(midpoint=0.6, slope=10.0, mean=0.1, std=0.05)


def test_the_logistic_curve_is_symmetric_and_never_overflows() -> None:
    assert logistic(0.0) == 0.5
    assert logistic(2.0) == pytest.approx(1 / (1 + math.exp(-2)))
    assert logistic(-2.0) == pytest.approx(1 - logistic(2.0))
    assert (logistic(-1e6), logistic(1e6)) == (0.0, 1.0)


@pytest.mark.parametrize("pair", UNFITTED)
def test_relevance_is_monotone_and_bounded_over_all_cosines(pair: PairName) -> None:
    query, target = map(Modality, pair.split("-"))
    relevances = [Calibration().relevance(query, target, cosine) for cosine in np.linspace(-1, 1, 201)]
    assert relevances == sorted(relevances)
    assert 0 <= relevances[0] < 0.01
    assert 0.5 < relevances[-1] <= 1


def test_what_was_measured_replaces_only_its_pair() -> None:
    calibration = Calibration({"text-image": FITTED})
    assert calibration.relevance(TEXT, IMAGE, 0.6) == 0.5
    assert calibration.relevance(IMAGE, TEXT, 0.2) == 0.5
    assert calibration.of(TEXT, IMAGE) == FITTED


def test_of_several_measurements_the_last_counts() -> None:
    other = PairStatistics(midpoint=0.3, slope=10.0, mean=0.1, std=0.05)
    assert Calibration({"text-image": other, "text-text": other}, {"text-image": FITTED}).of(TEXT, IMAGE) == FITTED
    assert Calibration({"text-image": other, "text-text": other}, {"text-image": FITTED}).of(TEXT, TEXT) == other
