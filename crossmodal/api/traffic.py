"""How much the process has in hand, what it may still take, and whether it is about to end."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from crossmodal.errors import ModelUnavailable, Overloaded, Shed
from crossmodal.settings import Settings

BULK_PATHS = ("/index/",)
"""Work nobody waits for at a screen. It may hold half of the places, so that searches always find one."""


BODY_GRACE_SECONDS = 10.0
BODY_BYTES_PER_SECOND = 16 * 1024
"""A body must come at this rate at least, after a grace: a place is held while it comes."""


@dataclass(frozen=True, slots=True)
class TrafficLimits:
    """How much one process takes on.

    ``concurrency`` requests at a time, ``buffered`` bytes of their bodies together, ``body`` bytes of one body;
    ``timeout`` seconds until an answer begins.
    """

    concurrency: int = 256
    buffered: int = 512 * 2**20
    body: int = 20 * 2**20
    timeout: float = 60.0


class Traffic:
    """The requests of one process."""

    def __init__(self, limits: TrafficLimits) -> None:
        self.limits = limits
        self.draining = False
        """Set when the process was asked to end: not ready any more, though requests are still answered."""
        self.closed = False
        """Set when no new requests are taken any more."""
        self._in_flight = 0
        self._bulk = 0
        self._held: Counter[str] = Counter()
        self._buffered = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Traffic":
        """As much as the settings allow one process."""
        return cls(
            TrafficLimits(
                concurrency=settings.max_concurrency,
                buffered=settings.max_buffered_bytes,
                body=settings.max_body_bytes,
                timeout=settings.timeout,
            )
        )

    @property
    def in_flight(self) -> int:
        """Requests being worked on, probes not counted."""
        return self._in_flight

    @contextmanager
    def place(self, path: str, holder: str | None = None) -> Iterator[None]:
        """Hold a place while the block runs. Raises ``Overloaded`` if there is none, ``ModelUnavailable`` at the end.

        ``holder`` names who may hold three quarters of all at most, so that nobody alone keeps out the others.
        """
        bulk = path.startswith(BULK_PATHS)
        self._admit(bulk=bulk, holder=holder)
        self._in_flight += 1
        self._bulk += bulk
        if holder is not None:
            self._held[holder] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._bulk -= bulk
            if holder is not None:
                self._held[holder] -= 1
                self._held += Counter()  # forgets who holds none
            if not self._in_flight:
                self._idle.set()

    def buffer(self, count: int) -> None:
        """Note ``count`` more bytes held (fewer, if negative). Raises ``Overloaded`` when that is over the limit."""
        if count > 0 and self._buffered + count > self.limits.buffered:
            raise Overloaded(
                f"bodies of {self._buffered} bytes are being worked on; {self.limits.buffered} is the limit",
                shed=Shed.BYTES,
            )
        self._buffered += count

    async def drained(self) -> None:
        """Return when nothing is in flight."""
        await self._idle.wait()

    def _admit(self, *, bulk: bool, holder: str | None) -> None:
        if self.closed:
            raise ModelUnavailable("this replica is shutting down; send the request again", shed=Shed.ENDING)
        limit = self.limits.concurrency
        if self._in_flight >= limit:
            raise Overloaded(f"{self._in_flight} requests are being answered, which is the limit", shed=Shed.REQUESTS)
        if bulk and self._bulk >= max(1, limit // 2):
            raise Overloaded(
                f"{self._bulk} indexing requests are being answered, which is the limit for those", shed=Shed.INDEXING
            )
        if holder is not None and self._held[holder] >= max(1, limit * 3 // 4):
            raise Overloaded(
                f"{self._held[holder]} requests of this key are being answered, which is the limit for one",
                shed=Shed.KEY,
            )
