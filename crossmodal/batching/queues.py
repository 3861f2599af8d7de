"""What waits, and what of it makes up the next batch."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossmodal.batching.pace import LEAST_ITEMS
from crossmodal.batching.work import Kind, Lane

BULK_TURN = 8
"""After this many interactive batches in a row, waiting bulk work gets one, so that it is never starved."""


@dataclass(slots=True, eq=False)
class Job:
    """An item, and the future of its result; times by the batcher's clock. ``trace`` is what its batch's span links to."""

    item: Any
    size: int
    future: asyncio.Future[Any]
    arrived: float
    trace: Any = None
    started: float = 0.0
    ended: float = 0.0


@dataclass(slots=True)
class Queue:
    """Jobs of one kind in one lane, the oldest first."""

    kind: Kind
    lane: Lane
    jobs: list[Job] = field(default_factory=list)

    @property
    def limit(self) -> int:
        """Items that a batch may have."""
        return self.kind.max_items if self.lane is Lane.INTERACTIVE else self.kind.bulk_items

    def take(self, enough: Callable[[], float], *, most: int) -> list[Job]:
        """Remove and return the next batch: the oldest job and those nearest to it in size, oldest first among equals.

        It ends at the limit of items and at ``most``, and before that at the first power of two, from ``LEAST_ITEMS`` on, where its load
        is ``enough``, which is asked for if it matters: a device that pads batches pads them to such.
        """
        limit = min(self.limit, most)
        if len(self.jobs) <= min(limit, LEAST_ITEMS):
            batch, self.jobs = self.jobs, []
            return batch
        nearest = self.jobs
        if self.kind.size is not None:
            first = self.jobs[0].size
            nearest = sorted(self.jobs, key=lambda job: abs(job.size - first))
        nearest = nearest[:limit]
        batch = nearest[: _reached(nearest, enough())]
        chosen = set(map(id, batch))
        self.jobs = [job for job in self.jobs if id(job) not in chosen]
        return batch

    def drop_abandoned(self) -> int:
        """Forget jobs nobody waits for any more; returns how many."""
        before = len(self.jobs)
        self.jobs = [job for job in self.jobs if not job.future.done()]
        return before - len(self.jobs)


def load_of(batch: Sequence[Job]) -> int:
    """What the batch is padded to."""
    return len(batch) * max(1, *(job.size for job in batch))


def _reached(jobs: Sequence[Job], enough: float) -> int:
    """How many of ``jobs``, a power of two, make a load of ``enough``, or all."""
    longest = 0
    for count, job in enumerate(jobs, 1):
        longest = max(longest, job.size)
        if count >= LEAST_ITEMS and count.bit_count() == 1 and count * longest >= enough:
            return count
    return len(jobs)


class Turns:
    """Whose turn it is: interactive lanes first, and among equals the queue whose first job waited longest."""

    def __init__(self) -> None:
        self._interactive_run = 0

    def choose(self, queues: Sequence[Queue], is_worth_it: Callable[[Queue], bool]) -> Queue | None:
        """The queue that is next, of those that are worth it; None if none is, or if none of a lane is that goes before."""
        waiting = [queue for queue in queues if queue.jobs]
        interactive = [queue for queue in waiting if queue.lane is Lane.INTERACTIVE]
        bulk = [queue for queue in waiting if queue.lane is Lane.BULK and is_worth_it(queue)]
        bulk_is_due = bool(bulk) and self._interactive_run >= BULK_TURN
        chosen = bulk if bulk_is_due or not interactive else filter(is_worth_it, interactive)
        return min(chosen, key=lambda queue: queue.jobs[0].arrived, default=None)

    def took(self, lane: Lane) -> None:
        """A batch of ``lane`` is launched."""
        self._interactive_run = self._interactive_run + 1 if lane is Lane.INTERACTIVE else 0
