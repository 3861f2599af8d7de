"""How many users there are when, and when objectives hold."""

import pytest

from loadtests.shapes import FACTORS, Shape


def users(name: str, nominal: int = 20, seconds: int = 100) -> list[int | None]:
    shape = Shape(name, nominal, seconds)
    return [shape.at(second) for second in range(seconds + 1)]


@pytest.mark.parametrize("name", sorted(FACTORS))
@pytest.mark.parametrize("nominal", [1, 7, 256])
def test_every_shape_has_users_until_it_ends_and_never_more_than_four_times_the_nominal(
    name: str, nominal: int
) -> None:
    *during, after = users(name, nominal)
    assert after is None
    assert all(count is not None and 1 <= count <= 4 * nominal for count in during)


def test_steady() -> None:
    assert users("steady") == [20] * 100 + [None]


def test_steps_double_from_a_quarter_to_four_times() -> None:
    assert users("steps") == [5] * 20 + [10] * 20 + [20] * 20 + [40] * 20 + [80] * 20 + [None]


def test_a_spike_is_sudden_and_ends() -> None:
    assert users("spike") == [20] * 40 + [80] * 20 + [20] * 40 + [None]


def test_a_soak_rises_and_stays() -> None:
    found = users("soak")
    assert found[:11] == [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert found[10:100] == [20] * 90


def test_a_day_is_low_at_both_ends_and_high_at_noon() -> None:
    found = users("diurnal")
    assert (found[0], found[25], found[50], found[75], found[99]) == (4, 12, 20, 12, 4)


def test_objectives_do_not_hold_in_a_spike_and_while_it_drains() -> None:
    shape = Shape("spike", 20, 100)
    assert [second for second in range(100) if not shape.is_judged(second)] == list(range(39, 70))


@pytest.mark.parametrize("name", ["steady", "soak", "diurnal"])
def test_objectives_hold_always_where_there_are_never_more_than_nominal(name: str) -> None:
    assert all(Shape(name, 20, 100).is_judged(second) for second in range(100))


def test_objectives_hold_for_the_steps_up_to_the_nominal() -> None:
    shape = Shape("steps", 20, 100)
    assert [second for second in range(100) if shape.is_judged(second)] == list(range(59))


def test_objectives_hold_to_the_last_moment() -> None:
    assert Shape("steady", 1, 2.5).is_judged(2)


def test_an_unknown_shape() -> None:
    with pytest.raises(KeyError):
        Shape("sawtooth", 1, 1)
