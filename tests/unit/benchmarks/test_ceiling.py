"""The ceiling that a service is held to."""

import numpy as np
import pytest

from benchmarks.ceiling import BATCHES, Measured, Way, best, ceilings
from benchmarks.inputs import captions, photographs
from crossmodal.clip.base import ClipModel
from crossmodal.clip.loading import load_model

SMALL, LARGE = Way(8, 1), Way(16, 2)


def test_a_way_that_was_lucky_once_is_not_the_best() -> None:
    texts = Measured({SMALL: 1.0}, 1.0)
    rounds = [
        {"image": Measured({SMALL: small, LARGE: large}, lone), "text": texts}
        for small, large, lone in [(90.0, 50.0, 30.0), (40.0, 52.0, 50.0), (41.0, 51.0, 31.0)]
    ]
    assert best(rounds)["image"] == (51.0, LARGE, 31.0)


@pytest.fixture(scope="module")
def tiny() -> ClipModel:
    return load_model("tiny", device="cpu")


@pytest.mark.parametrize("kind", ["image", "text"])
def test_each_way_is_measured_and_a_lone_one(tiny: ClipModel, kind: str) -> None:
    measured = ceilings(tiny, photographs(32), captions(64), 0.02)[kind]
    assert {way.batch for way in measured.rates} == set(BATCHES[kind])
    assert {way.callers for way in measured.rates} == {1, tiny.info.calls}
    assert np.isfinite([*measured.rates.values(), measured.lone]).all()
    assert min(*measured.rates.values(), measured.lone) > 0
