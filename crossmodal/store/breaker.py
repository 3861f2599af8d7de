"""Once a store has been silent for the whole time a call has, the next callers are not made to wait for it as well."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from crossmodal.errors import CrossModalError, StoreUnavailable

T = TypeVar("T")

PROBE_EVERY_S = 1.0
PROBE_TIMEOUT_S = 2.0


class Breaker:
    """Opens when a call met silence; while it is open calls fail at once and ``probe`` is tried until it succeeds."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        is_silence: Callable[[StoreUnavailable], bool],
        *,
        every_s: float = PROBE_EVERY_S,
    ) -> None:
        """``is_silence`` tells a store that does not answer from one whose answer is a refusal."""
        self._probe = probe
        self._is_silence = is_silence
        self._every_s = every_s
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once."""
        return self._probing is not None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await ``work``. Raises ``StoreUnavailable`` at once while open, and whatever ``work`` raises."""
        if self.is_open:
            raise StoreUnavailable("the vector store does not answer; it is asked again every second")
        try:
            return await work()
        except StoreUnavailable as error:
            if self._probing is None and self._is_silence(error):
                self._probing = asyncio.create_task(self._probe_until_answered())
            raise

    async def close(self) -> None:
        """Stop probing."""
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.wait([probing])

    async def _probe_until_answered(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            with suppress(CrossModalError, TimeoutError):
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await self._probe()
                self._probing = None
                return
