"""How large batches become: what is learned of their time, and what follows for the next one."""

import asyncio
import math
import threading
from collections.abc import Callable, Sequence

import pytest

from crossmodal.batching import BULK_TURN, Batcher, Kind, Lane
from crossmodal.batching.pace import LEAST_ITEMS, OneByOne, Pace, SideBySide
from crossmodal.errors import Overloaded

Seconds = Callable[[int], float]


def learned(seconds: Seconds, *loads: int, repeated: int = 3) -> Pace:
    pace = Pace()
    for load in loads:
        for _ in range(repeated):
            pace.note(items=load, load=load, seconds=seconds(load))
    return pace


def test_the_line_is_found() -> None:
    fixed, each = learned(lambda load: 0.004 + 0.001 * load, 1, 3, 16).line() or (0.0, 0.0)
    assert fixed == pytest.approx(0.004)
    assert each == pytest.approx(0.001)


def test_enough_is_where_the_fixed_cost_is_a_twentieth() -> None:
    pace = learned(lambda load: 0.004 + 0.001 * load, 1, 4, 32)
    enough = pace.enough()
    assert enough == pytest.approx(76)
    assert 0.004 / (0.004 + 0.001 * enough) == pytest.approx(0.05)


def test_a_cpu_needs_few_and_a_gpu_many() -> None:
    assert learned(lambda load: 0.001 + 0.03 * load, 1, 16).enough() < 1
    assert learned(lambda load: 0.002 + 0.0001 * load, 1, 64).enough() == pytest.approx(380)


@pytest.mark.parametrize(
    "pace",
    [
        Pace(),
        learned(lambda load: 0.001 * load, 16),  # of one size
        learned(lambda load: 0.001 * load, 15, 16),  # of about one size
        learned(lambda load: 0.001 * load, 1, 16, repeated=2),  # too few of each
        learned(lambda _: 0.0, 1, 16),  # a clock that stands
    ],
)
def test_while_too_little_is_known_no_batch_is_large_enough(pace: Pace) -> None:
    assert pace.line() is None
    assert pace.enough() == math.inf


def test_a_time_that_does_not_grow_wants_the_largest_batch() -> None:
    assert learned(lambda _: 0.01, 1, 16).enough() == math.inf
    assert learned(lambda load: 0.01 - 0.0001 * load, 1, 16).enough() == math.inf


def test_a_line_below_nothing_has_no_fixed_cost() -> None:
    assert (learned(lambda load: 0.001 * load**2, 2, 16).line() or (1.0,))[0] == 0.0
    assert learned(lambda load: 0.001 * load**2, 2, 16).enough() == 0.0


def test_one_disturbed_batch_changes_nothing() -> None:
    pace = learned(lambda load: 0.004 + 0.001 * load, 1, 16)
    before = pace.line()
    pace.note(items=16, load=16, seconds=3.0)
    pace.note(items=1, load=1, seconds=2.0)
    pace.note(items=200, load=200, seconds=9.0)  # the only one of its size
    assert pace.line() == pytest.approx(before)


def test_old_batches_are_forgotten() -> None:
    pace = learned(lambda load: 0.1 + 0.001 * load, 1, 16)
    for _ in range(32):
        pace.note(items=1, load=1, seconds=0.003)
        pace.note(items=16, load=16, seconds=0.018)
    assert pace.line() == pytest.approx((0.002, 0.001))
    for _ in range(64):
        pace.note(items=8, load=8, seconds=0.01)
    assert pace.line() is None


def test_a_batch_that_was_run_in_pieces_tells_only_what_an_item_takes() -> None:
    pace = Pace()
    for _ in range(5):
        pace.note(items=4, load=4, seconds=0.4, in_one_run=False)
        pace.note(items=64, load=64, seconds=6.4, in_one_run=False)
    assert pace.item_seconds == pytest.approx(0.1)
    assert pace.line() is None


def test_the_slow_batches_of_a_process_that_just_began_do_not_count() -> None:
    pace = Pace()
    for _ in range(4):
        pace.note(items=10, load=10, seconds=5.0)
    assert pace.item_seconds == 0.0
    pace.note(items=10, load=10, seconds=0.1)
    assert pace.item_seconds == pytest.approx(0.01)
    for _ in range(9):
        pace.note(items=10, load=10, seconds=0.2)
    assert pace.item_seconds == pytest.approx(0.01)
    pace.note(items=10, load=10, seconds=0.2)
    assert pace.item_seconds == pytest.approx(0.02)


def test_of_batches_one_after_another_each_has_the_device_from_when_the_one_before_ended() -> None:
    timing = OneByOne()
    first, second = timing.begin(1.0), timing.begin(2.0)
    assert timing.end(first, 4.0) == 3.0
    assert timing.end(second, 5.0) == 1.0
    assert timing.end(timing.begin(8.0), 9.0) == 1.0


def test_of_batches_side_by_side_each_has_its_share_of_the_device() -> None:
    timing = SideBySide()
    first, second = timing.begin(1.0), timing.begin(2.0)
    third = timing.begin(4.0)
    assert timing.end(first, 7.0) == pytest.approx(1 + 2 / 2 + 3 / 3)
    assert timing.end(second, 9.0) == pytest.approx(2 / 2 + 3 / 3 + 2 / 2)
    assert timing.end(third, 10.0) == pytest.approx(3 / 3 + 2 / 2 + 1)
    assert timing.end(timing.begin(20.0), 21.0) == pytest.approx(1.0)


class Clock:
    """Stands still but for what runs on it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Device:
    """Takes ``fixed`` seconds for a batch and ``each`` for one more of its load, by the clock it is given."""

    def __init__(self, clock: Clock, fixed: float, each: float) -> None:
        self.clock, self.fixed, self.each = clock, fixed, each
        self.batches: list[list[str]] = []

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.clock.now += self.fixed + self.each * len(items) * max(1, *map(len, items))
        return list(items)


async def taught(device: Device, clock: Clock, **changes: object) -> Batcher:
    """A batcher that has seen batches of one and of eight."""
    values: dict[str, object] = {"name": "text", "run": device, "max_items": 64, "bulk_items": 32} | changes
    batcher = Batcher([Kind(**values)], max_queued=1000, clock=clock)  # type: ignore[arg-type]
    for _ in range(3):
        await batcher.submit("text", ["x"])
        await batcher.submit("text", ["x"] * 8)
    assert [len(batch) for batch in device.batches] == [1, 8] * 3
    device.batches.clear()
    return batcher


async def test_batches_are_as_large_as_they_gain_by_it() -> None:
    clock = Clock()
    device = Device(clock, fixed=0.0099, each=0.01)
    batcher = await taught(device, clock)
    await batcher.submit("text", ["x"] * 50)
    # Of 19 the fixed cost is a twentieth; the next power of two is 32.
    assert [len(batch) for batch in device.batches] == [32, 18]
    await batcher.close()


async def test_batches_are_of_four_at_least() -> None:
    clock = Clock()
    device = Device(clock, fixed=0.0, each=0.01)
    batcher = await taught(device, clock)
    await batcher.submit("text", ["x"] * 10)
    assert [len(batch) for batch in device.batches] == [LEAST_ITEMS, LEAST_ITEMS, 2]
    await batcher.close()


async def test_a_high_fixed_cost_makes_batches_as_large_as_they_may_be() -> None:
    clock = Clock()
    device = Device(clock, fixed=1.0, each=0.001)
    batcher = await taught(device, clock)
    await batcher.submit("text", ["x"] * 100)
    await batcher.submit("text", ["x"] * 70, Lane.BULK)
    assert [len(batch) for batch in device.batches] == [64, 36, 32, 32, 6]
    await batcher.close()


async def test_long_texts_make_a_batch_full_sooner() -> None:
    clock = Clock()
    device = Device(clock, fixed=0.0099, each=0.01)
    batcher = await taught(device, clock, size=len)
    await batcher.submit("text", ["xxxxx"] * 6 + ["x"] * 40)
    # A load of 19 is enough: four texts of five, the two others with two short ones, and 32 short ones.
    assert [len(batch) for batch in device.batches] == [4, 4, 32, 6]
    assert device.batches[1] == ["xxxxx", "xxxxx", "x", "x"]
    await batcher.close()


async def test_without_a_limit_of_time_whatever_fits_may_wait() -> None:
    clock = Clock()
    batcher = await taught(Device(clock, fixed=0.01, each=10.0), clock)
    waiting = [asyncio.create_task(batcher.submit("text", ["x"] * 400)) for _ in range(3)]
    with pytest.raises(
        Overloaded, match="800 items wait for the model and 400 more came; the limit is 1000"
    ) as refused:
        await waiting[2]
    assert refused.value.retry_after == 1
    await asyncio.gather(*waiting[:2])
    await batcher.close()


async def test_texts_of_no_length_cost_something() -> None:
    clock = Clock()
    device = Device(clock, fixed=0.01, each=0.01)
    batcher = Batcher([Kind("text", device, 8, 4, size=len)], max_queued=100, clock=clock)
    outcome = await batcher.submit("text", [""] * 9)
    assert outcome.values == [""] * 9
    assert outcome.ran == pytest.approx(0.09)
    await batcher.close()


class Gate:
    """Lets batches end one by one, in the order they began, when told to; its clock runs on when they do."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.batches: list[list[str]] = []
        self.began = threading.Semaphore(0)
        self._may_end: list[threading.Event] = []
        self._lock = threading.Lock()

    def __call__(self, items: Sequence[str]) -> list[str]:
        event = threading.Event()
        with self._lock:
            self.batches.append(list(items))
            self._may_end.append(event)
        self.began.release()
        assert event.wait(10), "the test never let the batch end"
        if "poison" in items:
            raise ValueError("poison")
        return list(items)

    async def has_begun(self) -> None:
        """Wait for one more batch to begin."""
        assert await asyncio.to_thread(self.began.acquire, timeout=10)

    def end(self, number: int, *, after: float = 0.0) -> None:
        self.clock.now += after
        self._may_end[number].set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(clock)


def two_in_flight(gate: Gate, clock: Clock, **changes: object) -> Batcher:
    values: dict[str, object] = {"name": "text", "run": gate, "max_items": 8, "bulk_items": 4} | changes
    return Batcher([Kind(**values)], max_queued=1000, in_flight=2, clock=clock)  # type: ignore[arg-type]


def ask(batcher: Batcher, *items: str, lane: Lane = Lane.INTERACTIVE) -> asyncio.Task[object]:
    return asyncio.create_task(batcher.submit("text", items, lane))


async def settle() -> None:
    """Let everything happen that is only waiting for its turn on the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_second_batch_begins_while_the_first_runs(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    first = ask(batcher, "a")
    await gate.has_begun()
    second = ask(batcher, "b")
    await gate.has_begun()
    third = ask(batcher, "c")
    await settle()
    assert gate.batches == [["a"], ["b"]]
    assert batcher.queued == 1
    gate.end(1)
    await second
    await gate.has_begun()
    assert gate.batches == [["a"], ["b"], ["c"]]
    gate.end(0)
    gate.end(2)
    await asyncio.gather(first, third)
    await batcher.close()


async def test_a_small_batch_waits_for_company_behind_a_large_one(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    large = ask(batcher, *"abcdef")
    await gate.has_begun()
    small = [ask(batcher, item) for item in "xy"]
    await settle()
    assert gate.batches == [list("abcdef")]
    last = ask(batcher, "z")  # three are half of six
    await gate.has_begun()
    assert gate.batches == [list("abcdef"), list("xyz")]
    gate.end(0)
    gate.end(1)
    await asyncio.gather(large, last, *small)
    await batcher.close()


async def test_a_small_batch_of_another_kind_waits_for_nobody(gate: Gate, clock: Clock) -> None:
    kinds = [Kind(name, gate, max_items=8, bulk_items=4) for name in ("image", "text")]
    batcher = Batcher(kinds, max_queued=1000, in_flight=2, clock=clock)
    large = asyncio.create_task(batcher.submit("image", list("abcdef")))
    await gate.has_begun()
    older = asyncio.create_task(batcher.submit("image", ["g"]))  # waits for company, and holds nobody up
    await settle()
    other = asyncio.create_task(batcher.submit("text", ["x"]))
    await gate.has_begun()
    assert gate.batches == [list("abcdef"), ["x"]]
    for number in (1, 0):
        gate.end(number)
    await asyncio.gather(large, other)
    await gate.has_begun()
    gate.end(2)
    await older
    await batcher.close()


async def test_a_lone_request_waits_for_one_bulk_batch_of_two(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    bulk = ask(batcher, *"stuvwxyz", lane=Lane.BULK)
    await gate.has_begun()
    await gate.has_begun()
    lone = ask(batcher, "a")
    await settle()
    gate.end(1)
    await gate.has_begun()
    assert gate.batches[2] == ["a"]
    for number in (0, 2):
        gate.end(number)
    await asyncio.gather(bulk, lone)
    await batcher.close()


async def test_bulk_takes_no_place_that_interactive_work_waits_for(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    large = ask(batcher, *"abcdef")
    await gate.has_begun()
    small, bulk = ask(batcher, "x"), ask(batcher, *"stuv", lane=Lane.BULK)
    await settle()
    assert gate.batches == [list("abcdef")]
    gate.end(0)
    await gate.has_begun()
    await gate.has_begun()
    assert sorted(map(len, gate.batches)) == [1, 4, 6]
    for number in (1, 2):
        gate.end(number)
    await asyncio.gather(large, small, bulk)
    await batcher.close()


async def test_bulk_that_is_due_and_waits_for_company_holds_nobody_up(gate: Gate, clock: Clock) -> None:
    kinds = [Kind(name, gate, max_items=8, bulk_items=4) for name in ("image", "text")]
    batcher = Batcher(kinds, max_queued=1000, in_flight=2, clock=clock)
    bulk = asyncio.create_task(batcher.submit("image", list("stuv"), Lane.BULK))
    await gate.has_begun()
    waits = asyncio.create_task(batcher.submit("image", ["w"], Lane.BULK))
    await settle()
    for number in range(1, BULK_TURN + 2):
        lone = asyncio.create_task(batcher.submit("text", ["x"]))
        await gate.has_begun()
        gate.end(number)
        await lone
    assert gate.batches == [list("stuv"), *[["x"]] * (BULK_TURN + 1)]
    gate.end(0)
    await gate.has_begun()
    gate.end(BULK_TURN + 2)
    await asyncio.gather(bulk, waits)
    await batcher.close()


async def test_what_an_item_takes_is_known_after_batches_that_were_given_up(clock: Clock) -> None:
    def run(items: Sequence[str]) -> Sequence[str]:
        if "give up" in items:
            raise asyncio.CancelledError
        clock.now += 1
        return items

    kind = Kind("text", run, max_items=1, bulk_items=1)
    batcher = Batcher([kind], max_queued=1000, max_wait=20, in_flight=2, side_by_side=True, clock=clock)
    for _ in range(5):
        with pytest.raises(asyncio.CancelledError):
            await batcher.submit("text", ["give up"])
    for _ in range(20):
        await batcher.submit("text", ["x"])
    waiting = ask(batcher, *"uvwxyz" * 5)
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="will take it 30 seconds"):
        await batcher.submit("text", ["late"])
    await waiting
    await batcher.close()


async def test_what_waits_is_estimated_where_batches_run_side_by_side(gate: Gate, clock: Clock) -> None:
    kind = Kind("text", gate, max_items=1, bulk_items=1)
    batcher = Batcher([kind], max_queued=1000, max_wait=20, in_flight=2, side_by_side=True, clock=clock)
    for pair in range(8):
        both = ask(batcher, "a", "b")
        await gate.has_begun()
        await gate.has_begun()
        gate.end(2 * pair, after=2)  # together, in two seconds: one for each
        gate.end(2 * pair + 1)
        await both
    running, waiting = ask(batcher, "a", "b"), ask(batcher, *"uvwxyz" * 4)
    await gate.has_begun()
    await gate.has_begun()
    with pytest.raises(Overloaded, match="will take it 24 seconds"):
        await batcher.submit("text", ["late"])
    waiting.cancel()
    for number in (16, 17):
        gate.end(number)
    await running
    await batcher.close()


async def test_a_small_batch_waits_no_longer_than_the_large_one_runs(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    large = ask(batcher, *"abcdef")
    await gate.has_begun()
    small = ask(batcher, "x")
    await settle()
    gate.end(0)
    await gate.has_begun()
    assert gate.batches[1] == ["x"]
    gate.end(1)
    await asyncio.gather(large, small)
    await batcher.close()


async def test_much_that_waits_is_shared_out_among_the_places(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock, max_items=64)
    waiting = ask(batcher, *map(str, range(41)))
    await gate.has_begun()
    await gate.has_begun()
    assert sorted(map(len, gate.batches)) == [20, 21]
    gate.end(0)
    gate.end(1)
    assert (await waiting).values == list(map(str, range(41)))  # type: ignore[attr-defined]
    few = ask(batcher, *map(str, range(16)))
    await gate.has_begun()
    assert len(gate.batches[2]) == 16
    gate.end(2)
    await few
    await batcher.close()


async def test_a_full_bulk_batch_follows_a_large_interactive_one(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock, max_items=64)
    large = ask(batcher, *map(str, range(16)))
    await gate.has_begun()
    bulk = ask(batcher, *"wxyz", lane=Lane.BULK)
    await gate.has_begun()
    assert gate.batches[1] == list("wxyz")
    gate.end(0)
    gate.end(1)
    await asyncio.gather(large, bulk)
    await batcher.close()


async def test_interactive_goes_before_bulk_with_two_in_flight(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock, bulk_items=1)
    bulk = ask(batcher, "b1", "b2", "b3", lane=Lane.BULK)
    await gate.has_begun()
    await gate.has_begun()
    query = ask(batcher, "query")
    await settle()
    gate.end(0)
    await gate.has_begun()
    assert sorted(gate.batches[:2]) == [["b1"], ["b2"]]  # two threads: which came first is not said
    assert gate.batches[2:] == [["query"]]
    gate.end(1)
    await gate.has_begun()
    gate.end(2)
    gate.end(3)
    await asyncio.gather(bulk, query)
    await batcher.close()


async def test_the_oldest_running_batch_counts_as_busy(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    first = ask(batcher, "a")
    await gate.has_begun()
    clock.now = 5.0
    second = ask(batcher, "b")
    await gate.has_begun()
    clock.now = 7.0
    assert batcher.busy_seconds == 7.0
    gate.end(0)
    await first
    assert batcher.busy_seconds == 2.0
    gate.end(1)
    await second
    assert batcher.busy_seconds == 0.0
    await batcher.close()


async def test_closing_waits_for_all_that_run(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    running = [ask(batcher, "a")]
    await gate.has_begun()
    running.append(ask(batcher, "b"))
    await gate.has_begun()
    closing = asyncio.create_task(batcher.close())
    gate.end(1)
    await running[1]
    assert not closing.done()
    gate.end(0)
    await closing
    assert [(await task).values for task in running] == [["a"], ["b"]]  # type: ignore[attr-defined]


async def test_a_fault_stays_with_its_item_while_another_batch_runs(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    other = ask(batcher, "a")
    await gate.has_begun()
    bad, good = ask(batcher, "poison"), ask(batcher, "good")
    await gate.has_begun()
    for number in (1, 2, 3):
        gate.end(number)
        if number < 3:
            await gate.has_begun()
    with pytest.raises(ValueError, match="poison"):
        await bad
    assert (await good).values == ["good"]  # type: ignore[attr-defined]
    gate.end(0)
    assert (await other).values == ["a"]  # type: ignore[attr-defined]
    await batcher.close()


async def test_a_batch_behind_another_costs_what_it_adds(gate: Gate, clock: Clock) -> None:
    batcher = two_in_flight(gate, clock)
    for number in range(0, 10, 2):  # pairs that begin together; the device takes a second for each in turn
        first = ask(batcher, "a")
        await gate.has_begun()
        second = ask(batcher, "b")
        await gate.has_begun()
        gate.end(number, after=1.0)
        await first
        gate.end(number + 1, after=1.0)
        await second
    assert batcher._paces["text"].item_seconds == 1.0
    await batcher.close()
