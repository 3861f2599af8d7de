"""Drives servers from a process of its own, and works out what came back."""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Self

import uvloop

from benchmarks.contenders import Contender
from tools.load import Outcome, closed_loop, open_arrivals

LEAST_REQUESTS = 15


@dataclass(frozen=True, slots=True)
class Load:
    """One stretch of load: ``clients`` in a closed loop, or with ``rate`` arrivals a second at random."""

    seconds: float
    clients: int = 1
    rate: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it: answers of 200 a second, their latencies in milliseconds, and the cores that each role kept busy.

    ``sender`` among them is who asks.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    answered: int
    failed: int
    cores: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


class Driver(AbstractContextManager["Driver"]):
    """The process that sends requests: one, with an event loop that is quick, so that it takes little from the server."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def drive(self, contender: Contender, requests: list[bytes], load: Load) -> Figures:
        """Raises ``RuntimeError`` if nothing was answered."""
        before, began = contender.cpu_seconds(), time.perf_counter()
        outcome, asking = self._pool.submit(_drive, contender.server.url, requests, load).result()
        seconds, after = time.perf_counter() - began, contender.cpu_seconds()
        if not outcome.latencies:
            raise RuntimeError(f"{contender.name} answered nothing: {dict(outcome.statuses)}")
        cores = {role: round((spent - before.get(role, 0.0)) / seconds, 3) for role, spent in after.items()}
        cores["sender"] = round(asking / seconds, 3)
        failed = sum(outcome.statuses.values()) - outcome.statuses["200"]
        return Figures(outcome.goodput, *percentiles(outcome.latencies), outcome.statuses["200"], failed, cores)


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th, in milliseconds; by nearest rank, since few latencies have no tail to interpolate."""
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.95, 0.99))
    return p50, p95, p99


def medians(rounds: Sequence[Figures]) -> Figures:
    """Of each number the median of the rounds."""

    def of(name: str) -> float:
        numbers: list[float] = [getattr(each, name) for each in rounds]
        return statistics.median(numbers)

    roles = rounds[0].cores
    cores = {role: statistics.median(each.cores.get(role, 0.0) for each in rounds) for role in roles}
    failed = sum(each.failed for each in rounds)
    answered = sum(each.answered for each in rounds)
    return Figures(of("rate"), of("p50"), of("p95"), of("p99"), answered, failed, cores)


def _drive(url: str, requests: list[bytes], load: Load) -> tuple[Outcome, float]:
    """What came back, and the seconds of CPU time that asking took."""
    began = time.process_time()
    work: Coroutine[Any, Any, Outcome]
    if load.rate is None:
        work = closed_loop(url, requests, clients=load.clients, seconds=load.seconds)
    else:
        work = open_arrivals(url, requests, rate=load.rate, seconds=load.seconds, seed=load.seed)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work), time.process_time() - began
