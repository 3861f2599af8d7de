"""The adaptive batcher.

Batches run in threads, one at a time or as many as the model takes calls; whatever arrives meanwhile makes up the next
batch, so a lone request never waits for company. A batch holds one kind of work from one lane: interactive work goes
before bulk work, and a bulk batch is kept short, because whoever comes next has to wait for it. How large a batch may
grow follows from what the last ones took (``pace.py``): there is no latency to tune, and no size beyond the limit that
memory sets.

With several batches in flight the next one is prepared while the device still runs the first, or has a part of its cores.
It is launched behind one of its kind and lane only if it is at least half as large, or full: otherwise the places would fill
with batches of one. Much that waits for several free places is shared out among them, or those who all got their answers
at once would ask again at once, and the device would idle while the host prepares their one batch.

Faults stay with their item: when a batch fails its items are run again one by one, and only those that fail alone
get the error. Items whose request has gone are dropped before they cost anything.

What waits is bounded by count and by time: how long the queue will take is estimated from the batches just run, and
work that would wait longer than its requests may is refused at once rather than done for nobody.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from crossmodal import tracing
from crossmodal.batching.pace import OneByOne, Pace, SideBySide, Timing
from crossmodal.batching.queues import Job, Queue, Turns, load_of
from crossmodal.batching.work import BatchObserver, Kind, Lane, Outcome, Silent
from crossmodal.errors import ModelUnavailable, Overloaded, Shed

logger = logging.getLogger(__name__)

_MAX_RETRY_SECONDS = 60
_WHOLE = 16
"""Batches up to so many items are not shared out."""


@dataclass(frozen=True, slots=True)
class _Running:
    queue: Queue
    began: float
    items: int


class Batcher:
    """Runs work of several kinds in batches, ``in_flight`` at a time. Belongs to the event loop it is first used in."""

    def __init__(
        self,
        kinds: Sequence[Kind],
        *,
        max_queued: int,
        max_wait: float = math.inf,
        in_flight: int = 1,
        side_by_side: bool = False,
        observer: BatchObserver | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``max_queued`` items may wait in all queues together, each for ``max_wait`` seconds by the estimate of now.

        ``side_by_side`` says that batches in flight are computed at the same time, rather than one after the other.
        """
        self._queues = {(lane, kind.name): Queue(kind, lane) for lane in Lane for kind in kinds}
        self._paces = {kind.name: Pace() for kind in kinds}
        self._max_queued = max_queued
        self._max_wait = max_wait
        self._in_flight = in_flight
        self._observer = observer or Silent()
        self._clock = clock
        self._threads = ThreadPoolExecutor(in_flight, thread_name_prefix="model")
        self._turns = Turns()
        self._running: dict[asyncio.Task[None], _Running] = {}
        self._timing: Timing = SideBySide() if side_by_side else OneByOne()
        self._queued = 0
        self._woken = False
        self._closed = False

    @property
    def queued(self) -> int:
        """Items waiting for a batch now."""
        return self._queued

    @property
    def busy_seconds(self) -> float:
        """How long the oldest batch that runs now has been running; 0 if none runs."""
        return max((self._clock() - batch.began for batch in self._running.values()), default=0.0)

    async def submit(self, kind: str, items: Sequence[Any], lane: Lane = Lane.INTERACTIVE) -> Outcome:
        """Run all ``items`` and return their results together.

        Raises ``Overloaded`` before taking any if they do not fit into the queue or would wait too long in it,
        ``ModelUnavailable`` if the batcher is closed, and otherwise whatever ``run`` raises for the first item that
        fails alone.
        """
        self._admit(len(items), lane)
        loop = asyncio.get_running_loop()
        queue = self._queues[lane, kind]
        now = self._clock()
        size = queue.kind.size or (lambda _: 1)
        trace = tracing.here()
        jobs = [Job(item, size(item), loop.create_future(), now, trace) for item in items]
        queue.jobs.extend(jobs)
        self._queued += len(jobs)
        if not self._woken:  # what else arrives before the loop's next turn goes along
            self._woken = True
            loop.call_soon(self._fill)
        values = await self._gather(jobs)
        return Outcome(
            values,
            queued=max((job.started - now for job in jobs), default=0.0),
            ran=max((job.ended - job.started for job in jobs), default=0.0),
        )

    def _admit(self, count: int, lane: Lane) -> None:
        if self._closed:
            raise ModelUnavailable("the model is shutting down; try again", shed=Shed.ENDING)
        if not self._queued:
            return
        ahead = self._seconds_ahead(lane)
        retry_after = math.ceil(min(max(1.0, ahead - self._max_wait / 2), _MAX_RETRY_SECONDS))
        if self._queued + count > self._max_queued:
            detail = f"{self._queued} items wait for the model and {count} more came; the limit is {self._max_queued}"
            raise Overloaded(detail, retry_after=retry_after, shed=Shed.MODEL)
        if ahead > self._max_wait:
            detail = f"what waits for the model will take it {ahead:.0f} seconds; the limit is {self._max_wait:.0f}"
            raise Overloaded(detail, retry_after=retry_after, shed=Shed.MODEL)

    def _seconds_ahead(self, lane: Lane) -> float:
        """Estimate of what the model has to do before new work of ``lane``: bulk waits for all, interactive for its own."""
        return sum(
            len(queue.jobs) * self._paces[name].item_seconds
            for (of_lane, name), queue in self._queues.items()
            if lane is Lane.BULK or of_lane is Lane.INTERACTIVE
        )

    @staticmethod
    async def _gather(jobs: Sequence[Job]) -> list[Any]:
        try:
            return [await job.future for job in jobs]
        finally:
            # On an error or a cancelled request the rest has no reader: cancelled futures are dropped unrun.
            for job in jobs:
                if not job.future.done():
                    job.future.cancel()
                elif not job.future.cancelled():
                    job.future.exception()  # marks it as seen

    async def close(self) -> None:
        """Refuse new work, fail what waits with ``ModelUnavailable``, wait for the batches that run."""
        self._closed = True
        for queue in self._queues.values():
            for job in queue.jobs:
                if not job.future.done():
                    job.future.set_exception(
                        ModelUnavailable("the model is shutting down; try again", shed=Shed.ENDING)
                    )
            queue.jobs.clear()
        self._queued = 0
        if self._running:
            await asyncio.wait(list(self._running))
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)

    def _fill(self) -> None:
        """Launch batches while there is a place for one and one that is worth it."""
        self._woken = False
        while len(self._running) < self._in_flight:
            for queue in self._queues.values():
                self._queued -= queue.drop_abandoned()
            chosen = self._turns.choose(list(self._queues.values()), self._is_worth_it)
            if chosen is None:
                return
            self._launch(chosen)

    def _is_worth_it(self, queue: Queue) -> bool:
        """Whether a batch of it may be launched now: behind others of it a small one waits for company.

        For others than its own it would be waiting in vain, and whatever waits behind it too.
        """
        before = [running.items for running in self._running.values() if running.queue is queue]
        return not before or len(queue.jobs) >= min(queue.limit, before[-1] / 2)

    def _launch(self, queue: Queue) -> None:
        share = math.ceil(len(queue.jobs) / (self._in_flight - len(self._running)))
        batch = queue.take(self._paces[queue.kind.name].enough, most=max(share, _WHOLE))
        self._queued -= len(batch)
        self._turns.took(queue.lane)
        began = self._clock()
        for job in batch:
            job.started = began
        begun = self._timing.begin(began)
        task = asyncio.get_running_loop().create_task(self._run(queue, batch, began, begun))
        self._running[task] = _Running(queue, began, len(batch))
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled():
            self._fill()

    async def _run(self, queue: Queue, batch: list[Job], began: float, begun: float) -> None:
        try:
            try:
                results = await asyncio.get_running_loop().run_in_executor(self._threads, _attempt, queue.kind, batch)
            finally:
                ended = self._clock()
                seconds = self._timing.end(begun, ended)
            self._note(queue.kind, batch, results, seconds)
            for job, result in zip(batch, results, strict=True):
                job.ended = ended
                if job.future.done():
                    continue
                if isinstance(result, _Failure):
                    job.future.set_exception(result.error)
                else:
                    job.future.set_result(result)
        finally:
            for job in batch:
                job.future.cancel()  # of those that have no result: the loop is ending
        if members := [job.trace for job in batch if job.trace is not None]:
            what = {"kind": queue.kind.name, "lane": queue.lane.value, "items": len(batch)}
            tracing.batch(f"batch of {queue.kind.name}s", ended - began, members, **what)
        try:
            self._observer.on_batch(
                queue.kind.name, queue.lane, items=len(batch), seconds=ended - began, queued=self._queued
            )
        except Exception:
            # A broken observer must stop nobody.
            logger.exception("the batch observer failed")

    def _note(self, kind: Kind, batch: Sequence[Job], results: Sequence[Any], seconds: float) -> None:
        """Learn from a batch."""
        in_one_run = not any(isinstance(result, _Failure) for result in results)  # else it was run again one by one
        self._paces[kind.name].note(items=len(batch), load=load_of(batch), seconds=seconds, in_one_run=in_one_run)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


def _attempt(kind: Kind, batch: Sequence[Job]) -> list[Any]:
    """Run the batch, and where that fails each item alone; returns a result or a ``_Failure`` per item."""
    try:
        results = list(islice(kind.run([job.item for job in batch]), len(batch) + 1))
    except Exception as error:  # noqa: BLE001  whatever the model raises belongs to the items, not to the loop
        if len(batch) == 1:
            return [_Failure(error)]
        return [result for job in batch for result in _attempt(kind, [job])]
    if len(results) != len(batch):
        fault = RuntimeError(f"{kind.name}: {len(batch)} items went in, {len(results)} results came out")
        return [_Failure(fault)] * len(batch)
    return results
