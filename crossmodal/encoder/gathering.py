"""Calls to a model in another process that go along with each other.

A call costs each side a millisecond of processor time and more, whether it carries one text or fifty. While few are under
way each is made at once and as it is. What comes while several are waits for one of them to return, or for a few
milliseconds, and all that waited is one call. docs/adr/0028-calls-in-company.md has the measurements.
"""

import asyncio
import copy
import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crossmodal import deadline
from crossmodal.errors import ModelUnavailable

__all__ = ["Gathering"]

CALLS: Final = 4
"""Calls of one kind under way from which on others wait for company: fewer clients than that never wait."""
WAIT_SECONDS: Final = 0.01
"""How long they wait at most. Pictures take a CPU half a second: who waited for a call to return would miss the next batch."""

Items = Sequence[str] | NDArray[np.uint8]
Rows = NDArray[np.float32]


@dataclass(slots=True, eq=False)
class _Waiting:
    """Items of one caller, whose time is over at ``ends`` by the loop's clock."""

    items: Items
    ends: float
    rows: "asyncio.Future[Rows]"
    context: Context = field(default_factory=copy_context)


class Gathering:
    """Calls of one kind to one model in one lane. Belongs to the event loop it is first used in."""

    def __init__(
        self, make: Callable[[Items], Awaitable[Rows]], *, most: int, calls: int = CALLS, wait: float = WAIT_SECONDS
    ) -> None:
        """``make`` makes a call and returns a row for each item; calls that are joined have ``most`` items together.

        ``wait`` is in seconds.
        """
        self._make = make
        self._most = most
        self._calls = calls
        self._wait = wait
        self._under_way = 0
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def embed(self, items: Items) -> Rows:
        """A row for each of ``items``, which are called for alone or with those of others.

        Raises what ``make`` raises. Who leaves ends no call that others wait for.
        """
        if self._under_way < self._calls and not self._waiting:
            self._under_way += 1
            try:
                return await self._make(items)
            finally:
                self._returned()
        loop = asyncio.get_running_loop()
        left = deadline.remaining()
        caller = _Waiting(items, math.inf if left is None else loop.time() + left, loop.create_future())
        self._waiting.append(caller)
        if self._timer is None:
            self._timer = loop.call_later(self._wait, self._send)
        try:
            return await caller.rows
        finally:
            if not caller.rows.cancel() and not caller.rows.cancelled():
                caller.rows.exception()  # marks it as seen, where the caller left as it came

    def _returned(self) -> None:
        self._under_way -= 1
        if self._waiting:
            self._send()

    def _send(self) -> None:
        """Make calls of all that waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group: list[_Waiting] = []
        together = 0
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.rows.done():  # its caller has left
                continue
            if group and together + len(each.items) > self._most:
                self._begin(group)
                group, together = [], 0
            group.append(each)
            together += len(each.items)
        if group:
            self._begin(group)

    def _begin(self, group: Sequence[_Waiting]) -> None:
        self._under_way += 1
        task = asyncio.get_running_loop().create_task(self._carry(group), context=group[0].context)
        self._tasks.add(task)

        def end(_: object) -> None:
            self._tasks.discard(task)
            self._returned()

        callers = len(group)

        def left(_: object) -> None:
            nonlocal callers
            callers -= 1
            if not callers:  # nobody waits any more, or all have what they waited for
                task.cancel()

        task.add_done_callback(end)
        for each in group:
            each.rows.add_done_callback(left)

    async def _carry(self, group: Sequence[_Waiting]) -> None:
        """Give every caller its rows, or the error."""
        try:
            with deadline.within(max(each.ends for each in group) - asyncio.get_running_loop().time()):
                rows = await self._make(_joined([each.items for each in group]))
        except asyncio.CancelledError:
            for each in group:
                if not each.rows.done():  # not all have left: somebody else ended the call
                    each.rows.set_exception(ModelUnavailable("the call to the model was given up; try again"))
            raise
        except Exception as error:  # noqa: BLE001 -- it is the callers'
            here = [each for each in group if not each.rows.done()]
            if len(group) > 1 and isinstance(error, ModelUnavailable):
                # The fault may lie with the items of one of them.
                for each in here:
                    self._begin([each])
            else:
                for each in here:
                    each.rows.set_exception(_told_again(error))
            return
        start = 0
        for each in group:
            if not each.rows.done():
                each.rows.set_result(rows[start : start + len(each.items)])
            start += len(each.items)


def _told_again(error: Exception) -> Exception:
    """``error`` for one of several callers: each of them notes its own place in it, and the cause is for the log."""
    told = copy.copy(error)
    told.__cause__ = error.__cause__
    return told


def _joined(parts: Sequence[Items]) -> Items:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [item for part in parts for item in part]
