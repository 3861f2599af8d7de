"""How long the present request still has: told at the edge, asked where another process has to be told."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends: ContextVar[float | None] = ContextVar("ends", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What the block does or begins, tasks included, has ``seconds`` from now; in the running event loop's time."""
    token = _ends.set(asyncio.get_running_loop().time() + seconds)
    try:
        yield
    finally:
        _ends.reset(token)


def remaining() -> float | None:
    """Seconds left, below 0 when they are over; None outside of a request."""
    ends = _ends.get()
    return None if ends is None else ends - asyncio.get_running_loop().time()
