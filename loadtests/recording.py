"""What came of requests, second by second and kind by kind, in bounded memory however long a run is."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from loadtests.traffic import SHED, Kind

_LEAST = 1e-5
_GROWTH = math.log(1.02)


@dataclass
class Histogram:
    """Latencies in buckets each 2 % wider than the last: percentiles come out at most 2 % too high, never too low."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Count one latency."""
        self.counts[max(0, math.ceil(math.log(max(seconds, _LEAST) / _LEAST) / _GROWTH))] += 1

    def percentile(self, share: float) -> float:
        """Seconds that this ``share`` (0 to 1) of the latencies do not exceed, by nearest rank; NaN if there are none."""
        rank, seen = max(1, math.ceil(share * self.counts.total())), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return _LEAST * math.exp(bucket * _GROWTH)
        return math.nan


@dataclass
class Tally:
    """Of some requests: those answered as they should be, those shed with 429, and what was wrong with the rest."""

    ok: int = 0
    shed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    latencies: Histogram = field(default_factory=Histogram)
    """Of those answered as they should be."""

    @property
    def failed(self) -> int:
        """Requests with another fault than having been shed."""
        return self.faults.total()

    def add(self, seconds: float, fault: str | None) -> None:
        """Count one request."""
        if fault is None:
            self.ok += 1
            self.latencies.add(seconds)
        elif fault == SHED:
            self.shed += 1
        else:
            self.faults[fault] += 1

    def merge(self, other: "Tally") -> None:
        """Count what ``other`` counted, too."""
        self.ok += other.ok
        self.shed += other.shed
        self.faults += other.faults
        self.latencies.counts += other.latencies.counts


@dataclass
class Recorder:
    """Tallies by second of the run, counted by when a request was sent, and by kind."""

    tallies: dict[tuple[int, Kind], Tally] = field(default_factory=dict)

    def add(self, kind: Kind, second: float, latency: float, fault: str | None) -> None:
        """Count a request sent ``second`` seconds after the start that took ``latency`` seconds."""
        self.tallies.setdefault((max(0, int(second)), kind), Tally()).add(latency, fault)

    def total(self, kind: Kind | None = None, seconds: Callable[[int], bool] = lambda _: True) -> Tally:
        """Of one kind or all, of those seconds for which ``seconds`` holds."""
        found = Tally()
        for (second, each), tally in self.tallies.items():
            if kind in {None, each} and seconds(second):
                found.merge(tally)
        return found

    def kinds(self) -> list[Kind]:
        """What came, in the order of ``Kind``."""
        came = {kind for _, kind in self.tallies}
        return [kind for kind in Kind if kind in came]

    def timeline(self) -> Iterator[tuple[int, Tally]]:
        """Second by second, from the first to the last in which something was sent."""
        found: dict[int, Tally] = {}
        for (second, _), tally in self.tallies.items():
            found.setdefault(second, Tally()).merge(tally)
        for second in range(max(found, default=-1) + 1):
            yield second, found.get(second, Tally())

    def as_json(self) -> list[dict[str, Any]]:
        """For a file; ``from_json`` reads it."""
        return [
            {
                "second": second,
                "kind": kind,
                "ok": tally.ok,
                "shed": tally.shed,
                "faults": dict(tally.faults),
                "latencies": sorted(tally.latencies.counts.items()),
            }
            for (second, kind), tally in sorted(self.tallies.items())
        ]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> Self:
        """What ``as_json`` wrote."""
        return cls(
            {
                (row["second"], Kind(row["kind"])): Tally(
                    row["ok"], row["shed"], Counter(row["faults"]), Histogram(Counter(dict(row["latencies"])))
                )
                for row in rows
            }
        )
