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
from crossmodal.errors import CrossModalError, ModelUnavailable

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
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.rows.done():  # its caller has left
                continue
            if group and sum(len(other.items) for other in group) + len(each.items) > self._most:
                self._begin(group)
                group = []
            group.append(each)
        if group:
            self._begin(group)

    def _begin(self, group: Sequence[_Waiting]) -> None:
        self._under_way += 1
        task = asyncio.get_running_loop().create_task(self._carry(group), context=group[0].context)
        self._tasks.add(task)

        def end(_: object) -> None:
            self._tasks.discard(task)
            self._returned()

        def end_if_nobody_waits(_: object) -> None:
            if all(each.rows.done() for each in group):
                task.cancel()

        task.add_done_callback(end)
        for each in group:
            each.rows.add_done_callback(end_if_nobody_waits)

    async def _carry(self, group: Sequence[_Waiting]) -> None:
        """Give every caller its rows, or the error."""
        try:
            with deadline.within(max(each.ends for each in group) - asyncio.get_running_loop().time()):
                rows = await self._make(_joined([each.items for each in group]))
        except CrossModalError as error:
            if len(group) > 1 and isinstance(error, ModelUnavailable):
                # The fault may lie with the items of one of them.
                for each in group:
                    self._begin([each])
                return
            for each in group:
                _settle(each, copy.copy(error))
            return
        except Exception as error:  # noqa: BLE001 -- it is the callers'
            for each in group:
                _settle(each, error)
            return
        start = 0
        for each in group:
            _settle(each, rows[start : start + len(each.items)])
            start += len(each.items)


def _settle(caller: _Waiting, outcome: Rows | Exception) -> None:
    if caller.rows.done():
        return
    if isinstance(outcome, Exception):
        caller.rows.set_exception(outcome)
    else:
        caller.rows.set_result(outcome)


def _joined(parts: Sequence[Items]) -> Items:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [item for part in parts for item in part]
