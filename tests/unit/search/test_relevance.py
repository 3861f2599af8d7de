import math

import numpy as np
import pytest

from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.records import Modality, PairName, PairStatistics
from crossmodal.search.relevance import UNFITTED, Calibration, Calibrations, logistic
from crossmodal.store.base import CollectionSpec
from crossmodal.store.exact import ExactStore
from tests.fakes import CURVE, DIM, ColourModel

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


async def test_what_was_measured_on_the_collections_counts_before_the_models_own() -> None:
    store = ExactStore()
    await store.open(CollectionSpec(DIM, "f"))
    encoder = LocalEncoder(ColourModel(), BatchLimits())
    calibrations = Calibrations(encoder, store)
    assert (await calibrations.now()).of(TEXT, IMAGE) == CURVE
    await store.keep_statistics({"text-image": FITTED})
    now = await calibrations.now()
    assert (now.of(TEXT, IMAGE), now.of(IMAGE, IMAGE)) == (FITTED, CURVE)
    assert (await calibrations.info()).name == "colours"
    await encoder.close()
