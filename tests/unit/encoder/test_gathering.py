"""Calls that go along with each other: who waits, for how long, what comes back to whom, and whose fault is whose."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from crossmodal import deadline
from crossmodal.encoder.gathering import Gathering
from crossmodal.errors import DeadlineExceeded, ModelUnavailable, Overloaded

LONG = 60.0


class Model:
    """Gives for each item its hash; calls wait until they are let go. ``bad`` items fail the call they are in."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.gates: list[asyncio.Event] = []
        self.remaining: list[float | None] = []
        self.ended: list[str] = []
        self.fault: Callable[[list[Any]], Exception | None] = lambda _items: None

    async def __call__(self, items: Any) -> Any:
        self.calls.append(list(items))
        self.remaining.append(deadline.remaining())
        gate = asyncio.Event()
        self.gates.append(gate)
        number = len(self.calls)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.ended.append(f"call {number} cancelled")
            raise
        if (fault := self.fault(list(items))) is not None:
            raise fault
        return rows_of(items)

    def let_go(self, *numbers: int) -> None:
        for number in numbers or range(len(self.gates)):
            self.gates[number].set()


def rows_of(items: Any) -> Any:
    return np.array([[hash(str(item)) % 10_007, len(str(item))] for item in items], dtype=np.float32)


@pytest.fixture
def model() -> Model:
    return Model()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def begun(*work: Awaitable[Any]) -> list[asyncio.Future[Any]]:
    futures: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in work]
    await settled()
    return futures


async def busy(gathering: Gathering, count: int = 4) -> list[asyncio.Future[Any]]:
    """So many calls under way."""
    return await begun(*(gathering.embed([f"first {number}"]) for number in range(count)))


async def test_few_calls_are_made_at_once_and_as_they_are(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    first = await busy(gathering)
    assert model.calls == [[f"first {number}"] for number in range(4)]
    model.let_go()
    for number, future in enumerate(first):
        np.testing.assert_array_equal(await future, rows_of([f"first {number}"]))
    again = await busy(gathering)
    assert len(model.calls) == 8
    model.let_go()
    await asyncio.gather(*again)


async def test_what_comes_meanwhile_goes_together_when_one_returns(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    waiting = await begun(gathering.embed(["a"]), gathering.embed(["b", "c"]), gathering.embed(["d"]))
    assert len(model.calls) == 4
    model.let_go(2)
    await settled()
    assert model.calls[4:] == [["a", "b", "c", "d"]]
    model.let_go()
    for future, items in zip(waiting, (["a"], ["b", "c"], ["d"]), strict=True):
        np.testing.assert_array_equal(await future, rows_of(items))


async def test_nobody_waits_longer_than_that(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=0.02)
    await busy(gathering)
    waiting = await begun(gathering.embed(["a"]), gathering.embed(["b"]))
    assert len(model.calls) == 4
    await asyncio.sleep(0.2)
    assert model.calls[4:] == [["a", "b"]]
    model.let_go()
    await asyncio.gather(*waiting)


async def test_no_more_go_together_than_make_up_a_batch(model: Model) -> None:
    gathering = Gathering(model, most=4, wait=LONG)
    await busy(gathering)
    sizes = [1, 2, 2, 9, 1, 3]
    parts = [[f"{size} {number} {place}" for place in range(size)] for number, size in enumerate(sizes)]
    waiting = await begun(*map(gathering.embed, parts))
    model.let_go(0)
    await settled()
    assert [len(call) for call in model.calls[4:]] == [3, 2, 9, 4]
    model.let_go()
    for future, items in zip(waiting, parts, strict=True):
        np.testing.assert_array_equal(await future, rows_of(items))


async def test_pictures_are_joined_as_arrays() -> None:
    seen: list[Any] = []

    async def make(items: Any) -> Any:
        seen.append(items)
        await asyncio.sleep(0)
        return items.reshape(len(items), -1)[:, :2].astype(np.float32)

    gathering = Gathering(make, most=8, calls=1, wait=LONG)
    pictures = [np.full((count, 2, 2, 3), value, np.uint8) for value, count in ((1, 1), (2, 3), (3, 1))]
    answers = await asyncio.gather(*map(gathering.embed, pictures))
    assert [(each.dtype, each.shape) for each in seen] == [(np.uint8, (1, 2, 2, 3)), (np.uint8, (4, 2, 2, 3))]
    for answer, picture in zip(answers, pictures, strict=True):
        np.testing.assert_array_equal(answer, np.full((len(picture), 2), picture[0, 0, 0, 0]))


async def test_who_has_left_is_not_called_for(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    leaving, staying = await begun(gathering.embed(["gone"]), gathering.embed(["here"]))
    leaving.cancel()
    await settled()
    model.let_go(0)
    await settled()
    assert model.calls[4:] == [["here"]]
    model.let_go()
    await staying


async def test_who_leaves_later_ends_nothing_for_the_others(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    leaving, staying = await begun(gathering.embed(["gone"]), gathering.embed(["here"]))
    model.let_go(0)
    await settled()
    leaving.cancel()
    await settled()
    assert model.ended == []
    model.let_go()
    np.testing.assert_array_equal(await staying, rows_of(["here"]))


async def test_a_call_that_nobody_waits_for_is_given_up(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    leaving = await begun(gathering.embed(["a"]), gathering.embed(["b"]))
    model.let_go(0)
    await settled()
    for future in leaving:
        future.cancel()
    await settled()
    assert model.ended == ["call 5 cancelled"]
    (after,) = await begun(gathering.embed(["c"]))  # its place is free
    assert model.calls[5:] == [["c"]]
    model.let_go()
    await after


async def test_a_fault_stays_with_whose_items_it_is(model: Model) -> None:
    model.fault = lambda items: ModelUnavailable("the model does not answer") if "bad" in items else None
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    good, bad, other = await begun(gathering.embed(["a"]), gathering.embed(["bad", "b"]), gathering.embed(["c"]))
    model.let_go(0)
    await settled()
    model.let_go(4)
    await settled()
    assert model.calls[4:] == [["a", "bad", "b", "c"], ["a"], ["bad", "b"], ["c"]]
    model.let_go()
    np.testing.assert_array_equal(await good, rows_of(["a"]))
    np.testing.assert_array_equal(await other, rows_of(["c"]))
    with pytest.raises(ModelUnavailable):
        await bad


@pytest.mark.parametrize("error", [Overloaded("too much", retry_after=7), DeadlineExceeded("late"), RuntimeError("x")])
async def test_what_is_nobodys_fault_is_told_to_all_and_not_tried_again(model: Model, error: Exception) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    waiting = await begun(gathering.embed(["a"]), gathering.embed(["b"]))
    model.let_go(0)
    await settled()
    model.fault = lambda _items: error
    model.let_go(4)
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [(type(each), str(each)) for each in told] == [(type(error), str(error))] * 2
    assert [getattr(each, "retry_after", None) for each in told] == [getattr(error, "retry_after", None)] * 2
    assert len(model.calls) == 5


async def test_whoever_is_told_is_told_why(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    waiting = await begun(gathering.embed(["a"]), gathering.embed(["b"]))
    model.let_go(0)
    await settled()
    error = Overloaded("too much")
    error.__cause__ = ValueError("why")
    model.fault = lambda _items: error
    model.let_go(4)
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [repr(each.__cause__) for each in told if isinstance(each, Overloaded)] == ["ValueError('why')"] * 2
    assert told[0] is not told[1]


async def test_who_left_a_call_that_failed_is_not_called_for_again(model: Model) -> None:
    model.fault = lambda items: ModelUnavailable("the model does not answer") if len(items) > 1 else None
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    leaving, staying = await begun(gathering.embed(["gone"]), gathering.embed(["here"]))
    model.let_go(0)
    await settled()
    leaving.cancel()
    await settled()
    model.let_go(4)
    await settled()
    assert model.calls[5:] == [["here"]]
    model.let_go()
    np.testing.assert_array_equal(await staying, rows_of(["here"]))


async def test_callers_of_a_call_that_somebody_else_ended_are_told(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)
    waiting = await begun(gathering.embed(["a"]), gathering.embed(["b"]))
    model.let_go(0)
    await settled()
    (task,) = gathering._tasks
    task.cancel()
    async with asyncio.timeout(5):
        told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in told] == [ModelUnavailable] * 2


async def test_a_call_has_the_time_of_whoever_has_most(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    await busy(gathering)

    async def within(seconds: float, item: str) -> Any:
        with deadline.within(seconds):
            return await gathering.embed([item])

    waiting = await begun(within(5, "a"), within(30, "b"), within(10, "c"))
    model.let_go(0)
    await settled()
    assert model.calls[4:] == [["a", "b", "c"]]
    assert model.remaining[4] == pytest.approx(30, abs=2)
    endless = await begun(within(5, "d"), gathering.embed(["e"]))
    model.let_go(1)
    await settled()
    assert model.calls[5:] == [["d", "e"]]
    assert model.remaining[5] == float("inf")
    model.let_go()
    await asyncio.gather(*waiting, *endless)


async def test_each_of_many_gets_its_own_rows() -> None:
    draw = random.Random(0)
    largest, calls = 0, 0

    async def make(items: Any) -> Any:
        nonlocal largest, calls
        calls += 1
        largest = max(largest, len(items))
        await asyncio.sleep(draw.random() / 200)
        return rows_of(items)

    gathering = Gathering(make, most=16, wait=0.002)

    async def client(number: int) -> None:
        for turn in range(20):
            items = [f"{number} {turn} {place}" for place in range(draw.randint(1, 5))]
            np.testing.assert_array_equal(await gathering.embed(items), rows_of(items))
            await asyncio.sleep(draw.random() / 500)

    await asyncio.gather(*map(client, range(40)))
    assert largest <= 16
    assert calls < 800 / 2


async def test_nothing_is_kept_of_calls_that_returned(model: Model) -> None:
    gathering = Gathering(model, most=8, wait=LONG)
    first = await busy(gathering)
    waiting: Sequence[asyncio.Future[Any]] = await begun(gathering.embed(["a"]), gathering.embed(["b"]))
    model.let_go(0)
    await settled()
    model.let_go()
    await asyncio.gather(*first, *waiting)
    await settled()
    assert (gathering._under_way, gathering._waiting, gathering._timer, gathering._tasks) == (0, [], None, set())
