"""A lock with a shared and an exclusive side, for asyncio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Many may hold it shared, or one exclusively.

    Indexing holds it shared while it puts a picture's file and its point; deleting holds it exclusively while it looks
    whether anybody still needs the file. Without it a file could go between being put and being pointed at.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._shared = 0
        self._exclusive = False
        self._wanted = 0

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it beside others; waits while somebody holds or wants it exclusively."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._exclusive and not self._wanted)
            self._shared += 1
        try:
            yield
        finally:
            async with self._changed:
                self._shared -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold it alone."""
        async with self._changed:
            self._wanted += 1
            try:
                await self._changed.wait_for(lambda: not self._exclusive and not self._shared)
                self._exclusive = True
            finally:
                self._wanted -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            async with self._changed:
                self._exclusive = False
                self._changed.notify_all()
