"""The adaptive batcher: many small requests in, few full batches out. Pure asyncio; knows no model and no server.

One thread runs one batch at a time; whatever arrives meanwhile makes up the next batch, so a lone request never waits
for company and a crowd is served in full batches, with no latency to tune or learn (the size adapts to the load by
itself). A batch holds one kind of work from one lane: interactive work goes before bulk work, and a bulk batch is kept
short, because whoever comes next has to wait for it.

Faults stay with their item: when a batch fails its items are run again one by one, and only those that fail alone
get the error. Items whose request has gone are dropped before they cost anything.

What waits is bounded by count and by time: how long the queue will take is estimated from the batches just run, and
work that would wait longer than its requests may is refused at once rather than done for nobody.
"""

import asyncio
import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple, Protocol

from crossmodal.errors import ModelUnavailable, Overloaded

logger = logging.getLogger(__name__)

__all__ = ["BatchObserver", "Batcher", "Kind", "Lane", "Outcome"]

BULK_TURN = 8
"""After this many interactive batches in a row, waiting bulk work gets one, so that it is never starved."""

_REMEMBERED = 15
"""The time an item takes is the median over so many batches; the first ones of a process are slow."""
_ENOUGH = 5
"""Before so many batches were run nothing is estimated."""
_MAX_RETRY_SECONDS = 60


class Lane(StrEnum):
    """Somebody waits for interactive work; bulk work only has to be done."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of work: how a batch of it is run and how large it may be.

    ``run`` blocks, takes 1 to ``max_items`` items and returns as many results in their order. ``size`` is the cost of
    an item that grows with its length (1 for all: items are alike); a batch takes neighbours of the first item's size,
    since every text in it is padded to the longest.
    """

    name: str
    run: Callable[[Sequence[Any]], Iterable[Any]]
    max_items: int
    bulk_items: int
    size: Callable[[Any], int] | None = None


class Outcome(NamedTuple):
    """``values`` in the order of the items; seconds spent waiting for a turn and running, for the slowest item."""

    values: list[Any]
    queued: float
    ran: float


class BatchObserver(Protocol):
    """Told of every batch; implementations must be quick."""

    def on_batch(self, kind: str, lane: Lane, *, items: int, seconds: float, queued: int) -> None:
        """``items`` ran for ``seconds`` while ``queued`` items were still waiting."""


class _Silent:
    def on_batch(self, kind: str, lane: Lane, *, items: int, seconds: float, queued: int) -> None:
        """Tell nobody."""


@dataclass(slots=True, eq=False)
class _Job:
    item: Any
    size: int
    future: asyncio.Future[Any]
    arrived: float
    started: float = 0.0
    ended: float = 0.0


@dataclass(slots=True)
class _Queue:
    kind: Kind
    lane: Lane
    jobs: list[_Job] = field(default_factory=list)

    def take(self) -> list[_Job]:
        """Remove and return the next batch: the oldest job and those nearest to it in size, oldest first among equals."""
        limit = self.kind.max_items if self.lane is Lane.INTERACTIVE else self.kind.bulk_items
        if self.kind.size is None or len(self.jobs) <= limit:
            batch, self.jobs = self.jobs[:limit], self.jobs[limit:]
            return batch
        first = self.jobs[0].size
        nearest = sorted(self.jobs, key=lambda job: abs(job.size - first))[:limit]
        chosen = set(map(id, nearest))
        self.jobs = [job for job in self.jobs if id(job) not in chosen]
        return nearest

    def drop_abandoned(self) -> int:
        """Forget jobs nobody waits for any more; returns how many."""
        before = len(self.jobs)
        self.jobs = [job for job in self.jobs if not job.future.done()]
        return before - len(self.jobs)


class Batcher:
    """Runs work of several kinds on one thread, in batches. Belongs to the event loop it is first used in."""

    def __init__(
        self,
        kinds: Sequence[Kind],
        *,
        max_queued: int,
        max_wait: float = math.inf,
        observer: BatchObserver | None = None,
    ) -> None:
        """``max_queued`` items may wait in all queues together, each for ``max_wait`` seconds by the estimate of now."""
        self._queues = {(lane, kind.name): _Queue(kind, lane) for lane in Lane for kind in kinds}
        self._max_queued = max_queued
        self._max_wait = max_wait
        self._item_seconds = {kind.name: deque[float](maxlen=_REMEMBERED) for kind in kinds}
        self._batch_began: float | None = None
        self._queued = 0
        self._observer = observer or _Silent()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._loop_task: asyncio.Task[None] | None = None
        self._interactive_run = 0
        self._closed = False

    @property
    def queued(self) -> int:
        """Items waiting for a batch now."""
        return self._queued

    @property
    def busy_seconds(self) -> float:
        """How long the batch that runs now has been running; 0 if none runs."""
        return 0.0 if self._batch_began is None else time.perf_counter() - self._batch_began

    async def submit(self, kind: str, items: Sequence[Any], lane: Lane = Lane.INTERACTIVE) -> Outcome:
        """Run all ``items`` and return their results together.

        Raises ``Overloaded`` before taking any if they do not fit into the queue or would wait too long in it,
        ``ModelUnavailable`` if the batcher is closed, and otherwise whatever ``run`` raises for the first item that
        fails alone.
        """
        self._admit(len(items), lane)
        loop = asyncio.get_running_loop()
        queue = self._queues[lane, kind]
        now = time.perf_counter()
        size = queue.kind.size or (lambda _: 1)
        jobs = [_Job(item, size(item), loop.create_future(), now) for item in items]
        queue.jobs.extend(jobs)
        self._queued += len(jobs)
        if self._loop_task is None:
            self._loop_task = loop.create_task(self._serve())
        values = await self._gather(jobs)
        return Outcome(
            values,
            queued=max((job.started - now for job in jobs), default=0.0),
            ran=max((job.ended - job.started for job in jobs), default=0.0),
        )

    def _admit(self, count: int, lane: Lane) -> None:
        if self._closed:
            raise ModelUnavailable("the model is shutting down; try again")
        if not self._queued:
            return
        ahead = self._seconds_ahead(lane)
        retry_after = min(max(1, math.ceil(ahead - self._max_wait / 2)), _MAX_RETRY_SECONDS) if ahead else 1
        if self._queued + count > self._max_queued:
            detail = f"{self._queued} items wait for the model and {count} more came; the limit is {self._max_queued}"
            raise Overloaded(detail, retry_after=retry_after)
        if ahead > self._max_wait:
            detail = f"what waits for the model will take it {ahead:.0f} seconds; the limit is {self._max_wait:.0f}"
            raise Overloaded(detail, retry_after=retry_after)

    def _seconds_ahead(self, lane: Lane) -> float:
        """Estimate of what the model has to do before new work of ``lane``: bulk waits for all, interactive for its own."""
        return sum(
            len(queue.jobs) * statistics.median(self._item_seconds[name])
            for (of_lane, name), queue in self._queues.items()
            if (lane is Lane.BULK or of_lane is Lane.INTERACTIVE) and len(self._item_seconds[name]) >= _ENOUGH
        )

    @staticmethod
    async def _gather(jobs: Sequence[_Job]) -> list[Any]:
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
        """Refuse new work, fail what waits with ``ModelUnavailable``, wait for the batch that runs."""
        self._closed = True
        for queue in self._queues.values():
            for job in queue.jobs:
                if not job.future.done():
                    job.future.set_exception(ModelUnavailable("the model is shutting down; try again"))
            queue.jobs.clear()
        self._queued = 0
        if self._loop_task is not None:
            await asyncio.wait([self._loop_task])
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _next_queue(self) -> _Queue | None:
        """The queue whose first job waited longest, interactive lanes first."""
        for queue in self._queues.values():
            self._queued -= queue.drop_abandoned()
        waiting = [queue for queue in self._queues.values() if queue.jobs]
        if not waiting:
            return None
        interactive = [queue for queue in waiting if queue.lane is Lane.INTERACTIVE]
        bulk = [queue for queue in waiting if queue.lane is Lane.BULK]
        bulk_is_due = bool(bulk) and self._interactive_run >= BULK_TURN
        chosen = bulk if bulk_is_due or not interactive else interactive
        self._interactive_run = self._interactive_run + 1 if chosen is interactive else 0
        return min(chosen, key=lambda queue: queue.jobs[0].arrived)

    async def _serve(self) -> None:
        """Run batches until nothing waits; ``submit`` starts it again."""
        try:
            while (queue := self._next_queue()) is not None:
                batch = queue.take()
                self._queued -= len(batch)
                await self._run(queue, batch)
        finally:
            self._loop_task = None

    async def _run(self, queue: _Queue, batch: list[_Job]) -> None:
        started = self._batch_began = time.perf_counter()
        for job in batch:
            job.started = started
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, _attempt, queue.kind, batch)
        finally:
            self._batch_began = None
        ended = time.perf_counter()
        self._item_seconds[queue.kind.name].append((ended - started) / len(batch))
        for job, result in zip(batch, results, strict=True):
            job.ended = ended
            if job.future.done():
                continue
            if isinstance(result, _Failure):
                job.future.set_exception(result.error)
            else:
                job.future.set_result(result)
        try:
            self._observer.on_batch(
                queue.kind.name, queue.lane, items=len(batch), seconds=ended - started, queued=self._queued
            )
        except Exception:
            # A broken observer must not stop the loop: items would wait for ever.
            logger.exception("the batch observer failed")


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


def _attempt(kind: Kind, batch: Sequence[_Job]) -> list[Any]:
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
