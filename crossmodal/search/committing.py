"""Writers of one process that wait for each other anyway write together: one read and one durable write for all of them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from crossmodal.errors import CrossModalError
from crossmodal.records import Partition, Point
from crossmodal.store.base import VectorStore

MOST_POINTS = 256
"""Written together, unless one writer alone brings more."""

Pairs = list[tuple[Point, Point | None]]
"""Points that were to be written, each with what stood in its place before, None if nothing did."""


@dataclass(eq=False)
class _Job:
    """What one writer brings; ``outcome`` has its pairs once they are durable."""

    partition: Partition
    points: Sequence[Point]
    outcome: asyncio.Future[Pairs] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Committer:
    """Compares points with what is stored and writes those that differ, for one group of writers at a time.

    A durable write takes milliseconds, most of them for the disk or the network, whether it is of one point or of a hundred.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._waiting: deque[_Job] = deque()
        self.alone = asyncio.Lock()
        """Whoever holds it reads and writes the store alone."""

    async def write(self, partition: Partition, points: Sequence[Point]) -> Pairs:
        """Write what is not stored just so; durable when it returns, together with what it found just so.

        Raises ``StoreUnavailable``, and ``ValueError`` for points that a store refuses, to who brought them alone.
        """
        job = _Job(partition, points)
        self._waiting.append(job)
        async with self.alone:
            # Mostly it is done, by one who came before and wrote this, too, or the first that waits. One that is neither stands
            # behind what somebody left waiting who was cancelled.
            while not job.outcome.done():
                await self._commit(self._next())
        return await job.outcome

    def _next(self) -> list[_Job]:
        """The first that waits, and those after it that can be written with it: of its partition, and of other ids."""
        first = self._waiting.popleft()
        jobs, ids, passed = [first], {point.item.id for point in first.points}, deque[_Job]()
        while self._waiting and len(ids) < MOST_POINTS:
            job = self._waiting.popleft()
            own = {point.item.id for point in job.points}
            if job.partition == first.partition and ids.isdisjoint(own) and not _overtakes(own, job, passed):
                jobs.append(job)
                ids |= own
            else:
                passed.append(job)
        self._waiting.extendleft(reversed(passed))
        return jobs

    async def _commit(self, jobs: Sequence[_Job]) -> None:
        try:
            pairs = await self._write(jobs[0].partition, [point for job in jobs for point in job.points])
        except CrossModalError as error:
            for job in jobs:
                job.outcome.set_exception(error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it belongs to who brought the point
            if len(jobs) == 1:
                jobs[0].outcome.set_exception(error)
                return
            for job in jobs:  # the fault of one of them costs the others nothing
                await self._commit([job])
        except BaseException:
            for job in jobs:
                job.outcome.cancel()
            raise
        else:
            for job in jobs:
                job.outcome.set_result(pairs[: len(job.points)])
                pairs = pairs[len(job.points) :]

    async def _write(self, partition: Partition, points: Sequence[Point]) -> Pairs:
        present = await self._store.fetch(partition, [point.item.id for point in points])
        pairs = list(zip(points, present, strict=True))
        await self._store.upsert(partition, [point for point, now in pairs if not is_same(point, now)])
        return pairs


def is_same(point: Point, now: Point | None) -> bool:
    """Whether what is stored ``now`` says the same as ``point``, whenever it was written."""
    return now is not None and replace(point.item, created_at=now.item.created_at) == now.item


def _overtakes(own: set[str], job: _Job, passed: Sequence[_Job]) -> bool:
    """Whether an earlier one that is left behind is of the same items: the order in which they came is kept."""
    return any(
        other.partition == job.partition and not own.isdisjoint(point.item.id for point in other.points)
        for other in passed
    )
