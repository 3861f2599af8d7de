"""The knee: how many requests in flight fill the service, found by closed loop steps that take turns."""

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from benchmarks.driving import percentiles
from loadtests.traffic import MIXES, Traffic
from tools.load import Outcome, closed_loop

ENOUGH = 0.95
"""The knee is the smallest concurrency that reaches this share of the best goodput."""
ROOM = 0.7
"""Autoscalers that hold replicas at the concurrency which reaches this share leave room for what comes while one starts."""
STEPS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
DRAWN_A_SECOND = 600
"""Requests made for a second of a step, more than are asked in it: what is written again unchanged costs next to nothing."""
HANG_SECONDS = 65.0
HEADROOM = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What came of ``in_flight`` requests at a time: answers as documented a second, milliseconds, and answers by status."""

    in_flight: int
    goodput: float
    p50: float
    p99: float
    statuses: dict[str, int]


def knee(steps: Sequence[Step], enough: float = ENOUGH) -> Step:
    """The step of fewest in flight whose goodput is at least ``enough`` of the best.

    Raises ``ValueError`` where nothing was answered as documented.
    """
    best = max((step.goodput for step in steps), default=0.0)
    if not best:
        raise ValueError("nothing was answered as documented, so there is no knee")
    return min((step for step in steps if step.goodput >= enough * best), key=lambda step: step.in_flight)


def measure(url: str, *, mix: str, seconds: float, most: int, rounds: int, seed: int) -> list[Step]:
    """Measure each step up to ``most``, in ``rounds`` that take turns, each step for ``seconds`` in each.

    Raises ``TimeoutError`` where the service stops answering.
    """
    traffic = Traffic(seed)
    counts = list(takewhile(lambda count: count <= most, STEPS))
    found: dict[int, list[Outcome]] = {count: [] for count in counts}
    for turn in range(rounds):
        for count in counts if turn % 2 == 0 else reversed(counts):
            requests = [traffic.next(MIXES[mix]).wire for _ in range(round(DRAWN_A_SECOND * seconds) + count)]
            found[count].append(asyncio.run(_bounded(url, requests, count, seconds)))
    return [_step(count, outcomes) for count, outcomes in found.items()]


async def _bounded(url: str, requests: list[bytes], clients: int, seconds: float) -> Outcome:
    async with asyncio.timeout(seconds + HANG_SECONDS):
        return await closed_loop(url, requests, clients=clients, seconds=seconds)


def _step(count: int, outcomes: Sequence[Outcome]) -> Step:
    statuses: Counter[str] = sum((outcome.statuses for outcome in outcomes), Counter())
    latencies = [latency for outcome in outcomes for latency in outcome.latencies]
    p50, _, p99 = percentiles(latencies) if latencies else (0.0, 0.0, 0.0)
    goodput = statistics.median(_answered(outcome) / outcome.seconds for outcome in outcomes)
    return Step(count, goodput, p50, p99, dict(statuses))


def _answered(outcome: Outcome) -> int:
    """Answers other than that the service is at its limit or at fault; a bad request of a mix gets its 4xx."""
    wrong = {status for status in outcome.statuses if not status.isdecimal() or status == "429" or status >= "5"}
    return outcome.statuses.total() - sum(outcome.statuses[status] for status in wrong)


def table(steps: Sequence[Step]) -> list[str]:
    """The table that is printed, with the knee, what to do with it, and the rule."""
    best, found = max(step.goodput for step in steps), knee(steps)
    lines = ["| in flight | goodput, /s | of the best | p50, ms | p99, ms | answers |", "|---|---|---|---|---|---|"]
    for step in steps:
        mark = " <- knee" if step is found else ""
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(step.statuses.items()))
        lines.append(
            f"| {step.in_flight} | {step.goodput:.1f} | {step.goodput / best:.0%} | {step.p50:.1f} | {step.p99:.1f} | {answers} |{mark}"
        )
    limit = HEADROOM * found.in_flight
    if found.in_flight == max(step.in_flight for step in steps):
        lines.append("goodput still grew at the last step: the knee may lie further out (--most)")
    return [
        *lines,
        "",
        f"knee: {found.in_flight} requests in flight, the fewest that reach {ENOUGH:.0%} of the best goodput",
        f"  traffic.concurrency, and the autoscalers' requests in flight of a replica: {found.in_flight}",
        f"  CROSSMODAL_MAX_CONCURRENCY: {limit} or more, {HEADROOM} times the knee, so that waiting shows to an autoscaler",
        f"  before requests are shed; the last of {limit} waits {limit / found.goodput:.1f} s",
        f"  {ROOM:.0%} of the best goodput: {knee(steps, ROOM).in_flight} in flight, an autoscaler's target that leaves room for growth",
    ]
