"""What a long run leaves in the service's processes: memory, open files and threads, looked at all along.

A leak is a slope: bytes for each request answered. Memory wanders, by allocators, caches and batches of unlike size, so
the slope is given with what its noise may be: that of medians over stretches of the run, within which samples hang
together.

What is judged is memory of the processes' own. Pages of files are resident as well, foremost the embedded store's log, of
which up to 32 MB for each collection are mapped before the next piece begins: a saw, not a leak, and the kernel has them back
when it needs them.
"""

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import psutil

from loadtests.slo import Check

EVERY_SECONDS = 5.0
WARM_SHARE = 0.25
"""So much of a run is not judged: caches fill, allocators take what they will keep."""
STRETCHES = 12
LEAST_SAMPLES = 4 * STRETCHES
LEAST_MORE, MORE = 2.0, 0.02
"""Open files and threads come and go with connections: so many more, or such a share, are none."""
SURE = 2.23
"""Two-sided 95 % of Student's t with STRETCHES - 2 degrees of freedom (any table of the distribution)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All processes of the service together, ``second`` seconds after the start.

    ``rss`` is resident bytes, ``own`` those of them that are no file's and not shared (all, where the system does not say).
    """

    second: float
    rss: int
    own: int
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Slope:
    """Bytes for each request, and by how much that may be off, both ways, with 95 % confidence."""

    bytes_a_request: float
    off_by: float


@dataclass
class Growth:
    """Samples of a run."""

    samples: list[Sample] = field(default_factory=list)

    @classmethod
    @contextmanager
    def watched(cls, pid: int | None, every: float = EVERY_SECONDS) -> Iterator[Self]:
        """Look at process ``pid`` and all below it every ``every`` seconds while the block runs; None: at nothing."""
        found, ended = cls(), threading.Event()
        began = time.monotonic()

        def look() -> None:
            while pid is not None and not ended.wait(every):
                found.samples.append(_sample(pid, time.monotonic() - began))

        watching = threading.Thread(target=look, daemon=True)
        watching.start()
        try:
            yield found
        finally:
            ended.set()
            watching.join()

    def warm(self) -> list[Sample]:
        """Those that are judged."""
        last = self.samples[-1].second if self.samples else 0.0
        return [sample for sample in self.samples if sample.second >= WARM_SHARE * last]

    def slope(self, requests_a_second: float) -> Slope | None:
        """How memory grew once warm, None where too few samples came or nothing was answered."""
        warm = self.warm()
        if len(warm) < LEAST_SAMPLES or requests_a_second <= 0:
            return None
        stretches = [
            warm[len(warm) * part // STRETCHES : len(warm) * (part + 1) // STRETCHES] for part in range(STRETCHES)
        ]
        seconds = np.array([statistics.median(sample.second for sample in each) for each in stretches])
        sizes = np.array([statistics.median(sample.own for sample in each) for each in stretches])
        slope, start = np.polyfit(seconds, sizes, 1)
        left = sizes - (slope * seconds + start)
        spread = float(np.sqrt(left @ left / (STRETCHES - 2) / np.sum((seconds - seconds.mean()) ** 2)))
        return Slope(float(slope) / requests_a_second, SURE * spread / requests_a_second)

    def checks(self, requests_a_second: float, allowed: float) -> list[Check]:
        """Hold growth against ``allowed`` bytes a request; files and threads may not grow at all."""
        slope = self.slope(requests_a_second)
        limit = f"at most {allowed:g} bytes a request"
        if slope is None:
            return [Check("memory", limit, f"{len(self.warm())} samples", None)]
        measured = (
            f"{slope.bytes_a_request:.0f} +- {slope.off_by:.0f} bytes a request; {_span(self.warm(), 'own', 1e6)} MB; "
            f"with pages of files {_span(self.warm(), 'rss', 1e6)} MB"
        )
        return [Check("memory", limit, measured, _verdict(slope, allowed)), self._flat("files"), self._flat("threads")]

    def _flat(self, what: str) -> Check:
        """The typical number in the last third against that in the first."""
        warm = self.warm()
        third = len(warm) // 3
        first, last = (
            statistics.median(getattr(each, what) for each in part) for part in (warm[:third], warm[-third:])
        )
        allowed = max(LEAST_MORE, MORE * first)
        return Check(what, f"at most {allowed:.0f} more in the end", _span(warm, what), last - first <= allowed)


def _verdict(slope: Slope, allowed: float) -> bool | None:
    """Whether it is at most ``allowed``; None where the noise is so large that nobody can say."""
    if slope.bytes_a_request - slope.off_by > allowed:
        return False
    return None if slope.off_by > allowed else slope.bytes_a_request <= allowed


def _span(samples: Sequence[Sample], what: str, unit: float = 1.0) -> str:
    values = [getattr(sample, what) / unit for sample in samples]
    return f"{values[0]:.0f} to {values[-1]:.0f}, {min(values):.0f} to {max(values):.0f} in between"


def _sample(pid: int, second: float) -> Sample:
    rss = own = files = threads = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        processes = []
    for process in processes:
        try:
            with process.oneshot():
                memory = process.memory_info()
                rss += memory.rss
                own += memory.rss - getattr(memory, "shared", 0)
                files += process.num_fds()
                threads += process.num_threads()
        except psutil.Error:  # it ended meanwhile, as decoders do that are replaced
            continue
    return Sample(second, rss, own, files, threads)
