import math
from dataclasses import replace

import numpy as np
import pytest

from crossmodal.search import zero_shot
from tests.builders import unit
from tests.fakes import info

CLIP = info()  # scale 100, midpoint of text and image 0.9, slope 40
SIGLIP = replace(CLIP, logit_scale=110.0, logit_bias=-13.2)


def test_which_is_the_softmax_at_the_models_scale() -> None:
    shares = zero_shot.which(CLIP, np.array([0.30, 0.29, 0.10]))
    assert shares[0] / shares[1] == pytest.approx(math.e)
    assert shares.sum() == pytest.approx(1.0)
    assert zero_shot.which(replace(CLIP, logit_scale=1e4), np.array([1.0, -1.0])).tolist() == [1.0, 0.0]


def test_which_does_not_depend_on_the_bias() -> None:
    scores = np.array([0.12, 0.10, 0.02])
    unbiased = zero_shot.which(replace(SIGLIP, logit_bias=None), scores)
    assert zero_shot.which(SIGLIP, scores).tolist() == unbiased.tolist()


def test_each_is_the_sigmoid_where_there_is_a_bias_and_else_the_calibrated_relevance() -> None:
    fits = zero_shot.each(SIGLIP, np.array([0.13, 0.12, -1.0]))
    assert fits[:2] == pytest.approx([1 / (1 + math.exp(-1.1)), 0.5])
    assert 0.0 <= fits[2] < 1e-50
    assert zero_shot.each(CLIP, np.array([0.95, 0.9])) == pytest.approx([1 / (1 + math.exp(-2.0)), 0.5])


def test_even_odds_are_where_a_match_is_as_likely_as_not() -> None:
    assert zero_shot.even_odds(CLIP) == 0.9
    assert zero_shot.even_odds(SIGLIP) == pytest.approx(0.12)
    assert zero_shot.even_odds(replace(CLIP, calibration={})) == 0.20
    assert zero_shot.even_odds(replace(SIGLIP, logit_scale=1.0)) == 1.0
    for model in (CLIP, SIGLIP):
        assert zero_shot.each(model, np.array([zero_shot.even_odds(model)])) == pytest.approx([0.5])


def test_the_vector_of_an_ensemble_is_the_unit_mean_of_its_templates() -> None:
    assert zero_shot.prompts(["dog", "{x}"], ["{}", "a {} or {}"]) == ["dog", "a dog or dog", "{x}", "a {x} or {x}"]
    rows = np.stack([unit(1, 0), unit(0, 1), unit(0, -1), unit(0, -1)])
    np.testing.assert_allclose(zero_shot.ensemble(rows, 2), [unit(1, 1), unit(0, -1)], atol=1e-6)
    np.testing.assert_allclose(zero_shot.ensemble(rows, 1), rows)
    opposite = zero_shot.ensemble(np.stack([unit(1, 0), unit(-1, 0)]), 2)
    assert opposite.tolist() == [[0.0, 0.0]]


def test_cosines_stay_within_their_range() -> None:
    row = np.array([1.0 + 1e-6, 0.0], dtype=np.float32)
    assert zero_shot.cosines(np.stack([row, -row]), row).tolist() == [1.0, -1.0]
