import pytest

from crossmodal.search.diversity import diversify
from tests.builders import scored, unit

# Two twins near the query, one other direction less near.
TWIN = scored("twin", 0.90, unit(1, 0.1, 0))
OTHER_TWIN = scored("other twin", 0.89, unit(1, 0.11, 0))
ODD = scored("odd", 0.60, unit(0, 0, 1))
CANDIDATES = [TWIN, OTHER_TWIN, ODD]


def names(diversity: float, count: int = 3) -> list[str]:
    return [CANDIDATES[place].item.id for place in diversify(CANDIDATES, count=count, diversity=diversity)]


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
    assert diversify([], count=3, diversity=0.5) == []


def test_a_candidate_without_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match="'bare' came without its embedding"):
        diversify([scored("bare", 0.5)], count=1, diversity=0.5)
