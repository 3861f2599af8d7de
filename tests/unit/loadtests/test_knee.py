"""The rule of the knee, and what is printed of it."""

import pytest

from loadtests.knee import Step, knee, table


def steps(*goodputs: float) -> list[Step]:
    return [Step(2**place, goodput, 10.0, 20.0, {"200": 100}) for place, goodput in enumerate(goodputs)]


@pytest.mark.parametrize(
    ("goodputs", "expected"),
    [
        ((10, 20, 39, 40, 40), 4),
        ((10, 20, 37.9, 38.1, 40), 8),
        ((100, 90, 80), 1),
        ((10, 20, 40, 80), 8),
        ((10, 40, 37, 39), 2),
        ((5,), 1),
    ],
)
def test_the_fewest_that_reach_95_percent_of_the_best(goodputs: tuple[float, ...], expected: int) -> None:
    assert knee(steps(*goodputs)).in_flight == expected
    assert knee(list(reversed(steps(*goodputs)))).in_flight == expected


@pytest.mark.parametrize("goodputs", [(), (0.0, 0.0)])
def test_without_answers_there_is_none(goodputs: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no knee"):
        knee(steps(*goodputs))


def test_a_knee_at_the_last_step_is_doubted() -> None:
    doubt = "goodput still grew at the last step: the knee may lie further out (--most)"
    assert doubt in table(steps(10, 20, 40))
    assert doubt not in table(steps(10, 20, 20))


def test_what_is_printed() -> None:
    lines = table(steps(10, 20, 39, 40, 36))
    assert [line.endswith("<- knee") for line in lines[2:7]] == [False, False, True, False, False]
    assert lines[2] == "| 1 | 10.0 | 25% | 10.0 | 20.0 | 200: 100 |"
    assert "knee: 4 requests in flight" in lines[8]
    assert lines[9].endswith("of a replica: 4")
    assert "CROSSMODAL_MAX_CONCURRENCY: 16 or more" in lines[10]
    assert lines[11].endswith("the last of 16 waits 0.4 s")
    assert lines[12].startswith("  70% of the best goodput: 4 in flight")
    assert table(steps(10, 30, 39, 40))[11].startswith("  70% of the best goodput: 2 in flight")
