"""Requests that come when they come, whether or not earlier ones were answered; latency counts from when each was due.

Users who wait for an answer before they ask again send less while the service stalls, and so hardly see the stall: of
thousands of requests only those under way are slow. People who know nothing of each other keep coming. Here arrivals
follow a Poisson schedule that all connections share: while all are taken requests become late, and the time by which each
is late counts as its latency. Both latencies are kept, the one from when it was due and the naive one from when it was sent.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from loadtests.recording import Recorder
from loadtests.traffic import Asked, Mix, Traffic
from tools.load import Client

HANG_SECONDS = 65.0


@dataclass
class Arrivals:
    """What came, with latencies ``corrected``, from when each was due, and ``naive``, from when it was sent."""

    corrected: Recorder = field(default_factory=Recorder)
    naive: Recorder = field(default_factory=Recorder)


def schedule(traffic: Traffic, mix: Mix, *, rate: float, seconds: float) -> Iterator[tuple[float, Asked]]:
    """Requests, and when each is due in seconds from the start: ``rate`` a second on average, for ``seconds``."""
    due = traffic.gap(rate)
    while due < seconds:
        yield due, traffic.next(mix)
        due += traffic.gap(rate)


async def drive(url: str, arrivals: Iterator[tuple[float, Asked]], *, connections: int) -> Arrivals:
    """Send what is scheduled to ``url``, of this machine, with at most ``connections`` in flight; returns what came."""
    found, client, began = Arrivals(), Client(url), time.perf_counter()

    async def send() -> None:
        for due, asked in arrivals:  # each takes the next that nobody took
            await asyncio.sleep(began + due - time.perf_counter())
            sent = time.perf_counter()
            fault = await _fault(client, asked)
            now = time.perf_counter()
            found.corrected.add(asked.kind, due, now - began - due, fault)
            found.naive.add(asked.kind, sent - began, now - sent, fault)

    await asyncio.gather(*(send() for _ in range(connections)))
    await client.close()
    return found


async def _fault(client: Client, asked: Asked) -> str | None:
    try:
        async with asyncio.timeout(HANG_SECONDS):
            status, body = await client.exchange(asked.wire)
        return asked.fault(int(status), body)
    except TimeoutError:
        return f"no answer in {HANG_SECONDS:g} s"
    except (OSError, asyncio.IncompleteReadError, ValueError):
        return "no answer: the connection ended"
