import numpy as np
import pytest

from crossmodal.search.duplicates import pairs
from crossmodal.search.duplicates.pairs import Near, Places, find_near


def unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    made: np.ndarray = (rows / length).astype(np.float32)
    return made


def crowd(count: int, twins: int, noise: float) -> np.ndarray:
    """``count`` random vectors about a common direction, the last ``twins`` of them near the first."""
    random = np.random.default_rng(3)
    rows = random.standard_normal((count, 64)) + random.standard_normal(64)
    rows[-twins:] = rows[:twins] + noise * random.standard_normal((twins, 64))
    return unit(rows)


def search(rows: np.ndarray, floor: float) -> Near:
    def given(places: Places) -> np.ndarray:
        return rows[places]

    near = Near()
    for _ in find_near(len(rows), given, floor, near):
        pass
    return near


@pytest.mark.parametrize("count", [2, 511, 700, 5000])
def test_few_are_all_compared(count: int) -> None:
    rows = crowd(count, 1, 0.2)
    scores = np.triu(rows @ rows.T, 1)
    expected = {(int(left), int(right)) for left, right in np.argwhere(scores >= 0.85)}
    assert (0, count - 1) in expected
    left, right, found = search(rows, 0.85).pairs()
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == expected
    np.testing.assert_allclose(found, scores[left, right], atol=1e-5)
    assert (np.diff(found) <= 0).all()


def test_many_are_compared_by_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "ALL_PAIRS", 1000)
    rows = crowd(4000, 200, 0.3)
    near = search(rows, 0.9)
    left, right, scores = near.pairs()
    found = set(zip(left.tolist(), right.tolist(), strict=True))
    true = {(place, 3800 + place) for place in range(200) if rows[place] @ rows[3800 + place] >= 0.9}
    assert len(true) > 190
    assert len(true & found) >= 0.97 * len(true)
    np.testing.assert_allclose(scores, np.einsum("md,md->m", rows[left], rows[right]), atol=1e-5)
    assert not near.cut


def test_a_crowd_in_one_bucket_is_cut_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "ALL_PAIRS", 10)
    near = search(np.tile(unit(np.ones((1, 8))), (200, 1)), 0.9)
    assert near.cut


def test_what_does_not_fit_is_dropped_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MAX_PAIRS", 10)
    near = search(np.tile(unit(np.ones((1, 8))), (6, 1)), 0.9)
    assert near.cut
    assert len(near.pairs()[0]) == 10


def test_none_are_found_among_none() -> None:
    assert [len(column) for column in search(np.empty((0, 8), np.float32), 0.5).pairs()] == [0, 0, 0]
