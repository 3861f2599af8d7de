import numpy as np

from crossmodal.search.diversity import diversify
from tests.builders import unit

# Two twins near the query, one other direction less near.
SCORES = np.array([0.90, 0.89, 0.60])
EMBEDDINGS = np.stack([unit(1, 0.1, 0), unit(1, 0.11, 0), unit(0, 0, 1)])
NAMES = ["twin", "other twin", "odd"]


def names(diversity: float, count: int = 3) -> list[str]:
    return [NAMES[place] for place in diversify(SCORES, EMBEDDINGS, count=count, diversity=diversity)]


def test_without_diversity_the_order_is_by_score() -> None:
    assert names(0.0) == ["twin", "other twin", "odd"]


def test_diversity_prefers_what_is_unlike_the_chosen() -> None:
    assert names(0.5) == ["twin", "odd", "other twin"]


def test_the_balance_point_is_where_the_formula_says() -> None:
    # other twin: (1-d)*0.89 - d*cos ~ 0.9999; odd: (1-d)*0.60 - 0. Equal at 0.29 (1-d) = 0.9999 d, d = 0.2248.
    assert names(0.22)[1] == "other twin"
    assert names(0.23)[1] == "odd"


def test_no_more_than_asked_for_and_none_of_none() -> None:
    assert names(0.5, count=2) == ["twin", "odd"]
    assert names(0.5, count=9) == ["twin", "odd", "other twin"]
    assert diversify(np.empty(0), np.empty((0, 3), np.float32), count=3, diversity=0.5) == []


def test_of_equal_ones_the_first_is_taken() -> None:
    scores, embeddings = np.full(3, 0.5), np.stack([unit(1, 0)] * 3)
    assert diversify(scores, embeddings, count=3, diversity=0.5) == [0, 1, 2]
