"""The adaptive batcher: batches, lanes, bounds and faults."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from crossmodal.batching import BULK_TURN, Batcher, Kind, Lane
from crossmodal.errors import ModelUnavailable, Overloaded


class Worker:
    """Records the batches it is given; holds the first until ``release`` is set, so that others queue up behind it."""

    def __init__(self, *, held: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.started = threading.Event()
        self.release = threading.Event()
        if not held:
            self.release.set()

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.started.set()
        assert self.release.wait(10), "the test never released the worker"
        if "poison" in items:
            raise ValueError("poison")
        return [item.upper() for item in items]


def kind(worker: Worker, **changes: object) -> Kind:
    values: dict[str, object] = {"name": "text", "run": worker, "max_items": 4, "bulk_items": 2} | changes
    return Kind(**values)  # type: ignore[arg-type]


async def held_by(batcher: Batcher, worker: Worker, item: str = "first") -> asyncio.Task[object]:
    """Start a batch of one item and wait until the worker has it."""
    task: asyncio.Task[object] = asyncio.create_task(batcher.submit("text", [item]))
    await asyncio.to_thread(worker.started.wait, 10)
    return task


async def queue_up(batcher: Batcher, *requests: tuple[list[str], Lane]) -> list[asyncio.Task[object]]:
    tasks: list[asyncio.Task[object]] = []
    for items, lane in requests:
        tasks.append(asyncio.create_task(batcher.submit("text", items, lane)))
        await asyncio.sleep(0)
    return tasks


async def test_results_come_in_the_order_of_the_items() -> None:
    worker = Worker(held=False)
    batcher = Batcher([kind(worker)], max_queued=100)
    outcome = await batcher.submit("text", list("abcdefghij"))
    assert outcome.values == list("ABCDEFGHIJ")
    assert [len(batch) for batch in worker.batches] == [4, 4, 2]
    await batcher.close()


async def test_an_empty_request_needs_no_batch() -> None:
    worker = Worker(held=False)
    batcher = Batcher([kind(worker)], max_queued=100)
    assert (await batcher.submit("text", [])).values == []
    assert worker.batches == []
    await batcher.close()


async def test_what_arrives_during_a_batch_is_the_next_batch() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=100)
    first = await held_by(batcher, worker)
    others = await queue_up(batcher, (["a"], Lane.INTERACTIVE), (["b"], Lane.INTERACTIVE), (["c"], Lane.INTERACTIVE))
    assert batcher.queued == 3
    worker.release.set()
    await asyncio.gather(first, *others)
    assert worker.batches == [["first"], ["a", "b", "c"]]
    await batcher.close()


async def test_a_lone_request_after_a_burst_does_not_wait_for_company() -> None:
    worker = Worker(held=False)
    batcher = Batcher([kind(worker)], max_queued=1000)
    await asyncio.gather(*(batcher.submit("text", ["x"]) for _ in range(200)))
    began = time.perf_counter()
    outcome = await batcher.submit("text", ["alone"])
    assert outcome.values == ["ALONE"]
    assert time.perf_counter() - began < 1.0
    assert worker.batches[-1] == ["alone"]
    await batcher.close()


async def test_interactive_goes_before_bulk_that_came_first() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=100)
    first = await held_by(batcher, worker)
    others = await queue_up(batcher, (["b1", "b2", "b3"], Lane.BULK), (["i"], Lane.INTERACTIVE))
    worker.release.set()
    await asyncio.gather(first, *others)
    assert worker.batches == [["first"], ["i"], ["b1", "b2"], ["b3"]]
    await batcher.close()


async def test_bulk_gets_its_turn_under_endless_interactive_load() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker, max_items=1)], max_queued=100)
    first = await held_by(batcher, worker)
    interactive = [([f"i{number}"], Lane.INTERACTIVE) for number in range(BULK_TURN + 3)]
    others = await queue_up(batcher, (["bulk"], Lane.BULK), *interactive)
    worker.release.set()
    await asyncio.gather(first, *others)
    # The held batch was interactive too, so it counts as the first of the turn.
    assert worker.batches.index(["bulk"]) == BULK_TURN
    await batcher.close()


async def test_a_batch_takes_texts_of_like_length() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker, size=len, max_items=3)], max_queued=100)
    first = await held_by(batcher, worker)
    others = await queue_up(batcher, (["aa", "b" * 50, "cc", "d" * 51, "eee"], Lane.INTERACTIVE))
    worker.release.set()
    await asyncio.gather(first, *others)
    assert worker.batches[1:] == [["aa", "cc", "eee"], ["b" * 50, "d" * 51]]
    await batcher.close()


async def test_one_bad_item_costs_its_batch_mates_nothing() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=100)
    first = await held_by(batcher, worker)
    good, bad, also_good = await queue_up(
        batcher, (["a"], Lane.INTERACTIVE), (["poison"], Lane.INTERACTIVE), (["b"], Lane.INTERACTIVE)
    )
    worker.release.set()
    await first
    assert (await good).values == ["A"]  # type: ignore[attr-defined]
    assert (await also_good).values == ["B"]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="poison"):
        await bad
    await batcher.close()


async def test_a_full_queue_refuses_the_whole_request() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=3)
    first = await held_by(batcher, worker)
    (waiting,) = await queue_up(batcher, (["a", "b"], Lane.INTERACTIVE))
    with pytest.raises(Overloaded, match="2 items wait for the model and 2 more came; the limit is 3") as refused:
        await batcher.submit("text", ["c", "d"])
    assert refused.value.shed == "model"
    assert batcher.queued == 2
    worker.release.set()
    await asyncio.gather(first, waiting)
    assert worker.batches == [["first"], ["a", "b"]]
    await batcher.close()


async def test_a_large_request_is_taken_by_an_empty_queue() -> None:
    worker = Worker(held=False)
    batcher = Batcher([kind(worker)], max_queued=3)
    assert (await batcher.submit("text", list("abcdef"))).values == list("ABCDEF")
    await batcher.close()


async def test_abandoned_items_are_never_run() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=100)
    first = await held_by(batcher, worker)
    gone, stays = await queue_up(batcher, (["gone"], Lane.INTERACTIVE), (["stays"], Lane.INTERACTIVE))
    gone.cancel()
    await asyncio.sleep(0)
    worker.release.set()
    await asyncio.gather(first, stays)
    assert worker.batches == [["first"], ["stays"]]
    assert batcher.queued == 0
    await batcher.close()


async def test_wrong_number_of_results_fails_every_item() -> None:
    batcher = Batcher([Kind("text", lambda items: items[1:], 4, 2)], max_queued=100)
    with pytest.raises(RuntimeError, match="3 items went in, 2 results came out"):
        await batcher.submit("text", ["a", "b", "c"])
    await batcher.close()


async def test_closing_fails_what_waits_and_refuses_what_comes() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=100)
    first = await held_by(batcher, worker)
    (waiting,) = await queue_up(batcher, (["a"], Lane.INTERACTIVE))
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    worker.release.set()
    await closing
    assert (await first).values == ["FIRST"]  # type: ignore[attr-defined]
    with pytest.raises(ModelUnavailable):
        await waiting
    with pytest.raises(ModelUnavailable):
        await batcher.submit("text", ["late"])


async def test_kinds_take_turns_by_age() -> None:
    texts, images = Worker(), Worker(held=False)
    batcher = Batcher([kind(texts), kind(images, name="image")], max_queued=100)
    first = await held_by(batcher, texts)
    image = asyncio.create_task(batcher.submit("image", ["picture"]))
    await asyncio.sleep(0)
    text = asyncio.create_task(batcher.submit("text", ["later"]))
    await asyncio.sleep(0)
    assert images.batches == []
    texts.release.set()
    await asyncio.gather(first, image, text)
    assert images.batches == [["picture"]]
    assert texts.batches == [["first"], ["later"]]
    await batcher.close()


class BrokenObserver:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []

    def on_batch(self, kind: str, lane: Lane, *, items: int, seconds: float, queued: int) -> None:
        self.seen.append((kind, lane, items))
        assert seconds >= 0
        assert queued >= 0
        raise RuntimeError("observer")


async def test_a_broken_observer_stops_nobody() -> None:
    observer = BrokenObserver()
    batcher = Batcher([kind(Worker(held=False))], max_queued=100, observer=observer)
    for _ in range(2):
        assert (await batcher.submit("text", ["a", "b"])).values == ["A", "B"]
    await asyncio.sleep(0)
    assert observer.seen == [("text", Lane.INTERACTIVE, 2)] * 2
    await batcher.close()


async def test_times_are_told_apart() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=100)
    first = await held_by(batcher, worker)
    (second,) = await queue_up(batcher, (["a"], Lane.INTERACTIVE))
    await asyncio.sleep(0.05)
    worker.release.set()
    await first
    outcome = await second
    assert outcome.queued >= 0.05  # type: ignore[attr-defined]
    assert outcome.ran < outcome.queued  # type: ignore[attr-defined]
    await batcher.close()


async def measured(worker: Worker, *, max_wait: float) -> Batcher:
    """A batcher that has seen enough batches to know what an item takes: a hundredth of a second."""

    def slow(items: Sequence[str]) -> list[str]:
        if worker.release.is_set():
            time.sleep(0.01 * len(items))
        return worker(items)

    worker.release.set()
    batcher = Batcher([kind(worker, run=slow, max_items=1, bulk_items=1)], max_queued=10_000, max_wait=max_wait)
    for _ in range(6):
        await batcher.submit("text", ["x"])
    worker.release.clear()
    worker.started.clear()
    return batcher


async def test_work_that_would_wait_too_long_is_refused_at_once() -> None:
    worker = Worker()
    batcher = await measured(worker, max_wait=0.5)
    first = await held_by(batcher, worker)
    waiting = await queue_up(batcher, ([f"b{number}" for number in range(100)], Lane.BULK))
    with pytest.raises(Overloaded, match="limit is") as refused:
        await batcher.submit("text", ["late"], Lane.BULK)
    assert 1 <= refused.value.retry_after <= 60
    assert refused.value.shed == "model"
    # Interactive work does not wait behind bulk work, so what bulk work takes is nothing to it.
    query = asyncio.create_task(batcher.submit("text", ["query"]))
    worker.release.set()
    await asyncio.gather(first, query, *waiting)
    assert worker.batches.index(["query"]) == worker.batches.index(["first"]) + 1
    await batcher.close()


async def test_nothing_is_estimated_before_enough_was_seen() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=10_000, max_wait=0.001)
    first = await held_by(batcher, worker)
    waiting = await queue_up(batcher, ([f"b{number}" for number in range(100)], Lane.BULK), (["late"], Lane.BULK))
    worker.release.set()
    await asyncio.gather(first, *waiting)
    await batcher.close()


async def test_how_long_a_batch_runs_is_known() -> None:
    worker = Worker()
    batcher = Batcher([kind(worker)], max_queued=10)
    assert batcher.busy_seconds == 0.0
    first = await held_by(batcher, worker)
    await asyncio.sleep(0.05)
    assert 0.04 < batcher.busy_seconds < 10
    worker.release.set()
    await first
    assert batcher.busy_seconds == 0.0
    await batcher.close()
