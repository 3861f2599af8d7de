"""How much work a key may ask for: a token bucket per key, charged for what its requests turn out to cost.

The unit of work: a request costs 1, each text or picture in it 1 more, and each megapixel (a million pixels) of a
picture that was decoded 1 more; a search for duplicates 1 for each 100 items it examines. So a search by a text costs 2, one by a photograph of 12 megapixels 14, and a request
that indexes a hundred of them 1301.

What a request costs is known only while it is worked on, so it is admitted on a positive balance and charged
afterwards; the balance may fall below zero, and the next request then waits until it is made good. Buckets live in
memory: N API processes together allow N times the rate.
"""

import math
import time
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass

from crossmodal import tracing
from crossmodal.errors import RateLimited

Clock = Callable[[], float]
"""Seconds of a clock that nobody sets, as `time.monotonic`."""

REQUEST = 1.0
"""Units a request costs on admission."""

_BURST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Rate:
    """``per_second`` units come in each second, at most ``burst`` units are kept; both above 0."""

    per_second: float
    burst: float

    @classmethod
    def of(cls, per_second: float, burst: float | None) -> "Rate":
        """The rate with ``burst``, or with what comes in within ten seconds, at least 1 unit, where there is none."""
        return cls(per_second, max(1.0, per_second * _BURST_SECONDS) if burst is None else burst)


class Bucket:
    """The balance of one key, in units of work: full at first, refilled by the clock, charged by requests."""

    def __init__(self, rate: Rate, clock: Clock = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._balance = rate.burst
        self._seen = clock()

    @property
    def rate(self) -> Rate:
        """What comes in; a new rate holds from now on, and the balance stays as far as its burst allows."""
        return self._rate

    @rate.setter
    def rate(self, rate: Rate) -> None:
        self._balance = min(self.balance, rate.burst)
        self._rate = rate

    @property
    def balance(self) -> float:
        """Units left now, at most the burst; below zero while work already done is being made good."""
        now = self._clock()
        self._balance = min(self._rate.burst, self._balance + max(0.0, now - self._seen) * self._rate.per_second)
        self._seen = max(self._seen, now)
        return self._balance

    def admit(self) -> None:
        """Take in a request and charge it. Raises ``RateLimited``, with the seconds to wait, unless the balance is positive."""
        balance = self.balance
        if balance <= 0:
            seconds = math.floor(-balance / self._rate.per_second) + 1
            detail = f"{self._rate.per_second:g} units of work a second are allowed; the next request in {seconds} s"
            raise RateLimited(detail, retry_after=seconds)
        self.charge(REQUEST)

    def charge(self, units: float) -> None:
        """Take ``units`` off the balance, whatever is left."""
        self._balance = self.balance - units


class Buckets:
    """A bucket for each name. Used from one event loop, and holds only the names it was last told to keep."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def get(self, name: str, rate: Rate) -> Bucket:
        """The bucket of ``name``, with this rate from now on."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(rate, self._clock)
        elif bucket.rate != rate:
            bucket.rate = rate
        return bucket

    def keep(self, names: Collection[str]) -> None:
        """Forget every bucket whose name is not among ``names``."""
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if name in names}


_current: ContextVar[Bucket | None] = ContextVar("bucket", default=None)


def use(bucket: Bucket | None) -> None:
    """Charge ``bucket`` for the work of the request of this context, and of the tasks it starts; None charges nobody."""
    _current.set(bucket)


def charge(*, items: int = 0, megapixels: float = 0.0) -> None:
    """Charge the present request for texts and pictures and for millions of pixels decoded; without a bucket nothing happens."""
    if items:
        tracing.count("items", items)
    bucket = _current.get()
    if bucket is not None:
        bucket.charge(items + megapixels)
