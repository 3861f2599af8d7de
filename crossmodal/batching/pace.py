"""What batches of one kind take, learned from the last ones, and how large a batch has to be for it.

A batch of load n takes about a + b n seconds: a fixed cost (launches, a pass over the weights, a trip through the event
loop) and one that grows. Once a is a small share of the whole a larger batch serves no more items a second; it only makes
those in it wait longer. On a CPU that is soon the case, on a GPU late.

The load of a batch is what it is padded to: its items times the size of the largest.
"""

import math
import statistics
from collections import deque
from typing import Final, Protocol

FIXED_SHARE: Final = 0.05
"""The share of a batch's time that the fixed cost may have: what a larger batch could gain in throughput at most."""
LEAST_ITEMS: Final = 4
"""No estimate makes batches smaller than this; of so few the time is hardly known."""

_REMEMBERED: Final = 64
"""Batches that are remembered. When all of them were of one size the line through them is not known, batches are as
large as they may be again, and the estimate is renewed: two or three in 64 under constant load."""
_OF_A_SIZE: Final = 3
"""Batches of about one load, within a factor of two, before their time counts: one alone may have been disturbed."""
_APART: Final = 2.0
"""The largest load known must be this many times the smallest, or the line through them is guesswork."""

_RECENT: Final = 15
"""The time an item takes is the median over so many batches."""
_ENOUGH: Final = 5
"""Before so many batches were run nothing is said of an item's time, and until ``_RECENT`` were, the quickest counts: the first
ones of a process are slow, and work would be refused for that."""


class Timing(Protocol):
    """What part of the device's time each of several batches in flight has."""

    def begin(self, now: float) -> float:
        """A batch begins; returns what its ``end`` has to be given."""

    def end(self, begun: float, now: float) -> float:
        """It ends; returns the seconds that it had the device for itself, or would have."""


class OneByOne:
    """The device computes a batch after the other: one behind another has it from when that one ended."""

    def __init__(self) -> None:
        self._last_ended = -math.inf

    def begin(self, now: float) -> float:
        """See ``Timing``."""
        return now

    def end(self, begun: float, now: float) -> float:
        """See ``Timing``."""
        seconds = now - max(begun, self._last_ended)
        self._last_ended = now
        return seconds


class SideBySide:
    """The device computes all batches in flight at a time: each has its share of every second."""

    def __init__(self) -> None:
        self._running = 0
        self._now = 0.0
        self._shares = 0.0

    def begin(self, now: float) -> float:
        """See ``Timing``."""
        self._advance(now)
        self._running += 1
        return self._shares

    def end(self, begun: float, now: float) -> float:
        """See ``Timing``."""
        self._advance(now)
        self._running -= 1
        return self._shares - begun

    def _advance(self, now: float) -> None:
        """``_shares`` is what a batch that ran all the time would have had."""
        if self._running:
            self._shares += (now - self._now) / self._running
        self._now = now


class Pace:
    """Learns from batches; belongs to one thread."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._per_item: deque[float] = deque(maxlen=_RECENT)

    def note(self, *, items: int, load: int, seconds: float, in_one_run: bool = True) -> None:
        """``items`` >= 1 of together ``load`` >= 1 kept the model busy for ``seconds``, unless it fell apart in one run."""
        self._per_item.append(seconds / items)
        if in_one_run:
            self._batches.append((load, seconds))

    @property
    def item_seconds(self) -> float:
        """What an item takes in batches as they were lately; 0 while too little is known."""
        if len(self._per_item) < _ENOUGH:
            return 0.0
        return statistics.median(self._per_item) if len(self._per_item) == _RECENT else min(self._per_item)

    def line(self) -> tuple[float, float] | None:
        """Fixed seconds and seconds for one more of load, both >= 0; None while too little is known.

        Medians of batches of about one load, and the straight line that misses them by the least squares of relative
        errors: a large batch takes longer than a small one and is off by more.
        """
        groups: dict[int, tuple[list[int], list[float]]] = {}
        for load, seconds in self._batches:
            loads, times = groups.setdefault(load.bit_length(), ([], []))
            loads.append(load)
            times.append(seconds)
        points = [(_median(loads), _median(times)) for loads, times in groups.values() if len(loads) >= _OF_A_SIZE]
        points = [(load, seconds) for load, seconds in points if seconds > 0]
        loads = [int(load) for load, _ in points]
        if len(points) < 2 or max(loads) < _APART * min(loads):  # noqa: PLR2004 - a line has two points
            return None
        return _fit(points)

    def enough(self) -> float:
        """The load from which a batch gains nothing by being larger; infinite while that is not known."""
        line = self.line()
        if line is None:
            return math.inf
        fixed, each = line
        return fixed * (1 - FIXED_SHARE) / FIXED_SHARE / each if each > 0 else math.inf


def _median(values: list[int] | list[float]) -> float:
    """The upper median; ``statistics.median`` takes several times as long, and this runs before every batch."""
    return sorted(values)[len(values) // 2]


def _fit(points: list[tuple[float, float]]) -> tuple[float, float]:
    weights = [1 / seconds**2 for _, seconds in points]
    total = sum(weights)
    mean_load = sum(weight * load for weight, (load, _) in zip(weights, points, strict=True)) / total
    mean_seconds = sum(weight * seconds for weight, (_, seconds) in zip(weights, points, strict=True)) / total
    spread = sum(weight * (load - mean_load) ** 2 for weight, (load, _) in zip(weights, points, strict=True))
    together = sum(
        weight * (load - mean_load) * (seconds - mean_seconds)
        for weight, (load, seconds) in zip(weights, points, strict=True)
    )
    each = max(0.0, together / spread)
    return max(0.0, mean_seconds - each * mean_load), each
