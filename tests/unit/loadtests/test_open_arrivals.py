"""Latency counts from when a request was due: a server that stops for 1.4 s shows, which naive latencies hide."""

import asyncio
import os
import signal

import pytest

from loadtests.open_arrivals import drive, schedule
from loadtests.traffic import Kind, Traffic
from tests.unit.loadtests.conftest import Answering
from tools.load import Client

LISTS = {Kind.LIST: 1}
RATE, SECONDS, CONNECTIONS = 150.0, 6.0, 2
STALL = 1.4


def test_the_schedule_is_that_of_the_seed() -> None:
    first, second, other = (
        [due for due, _ in schedule(Traffic(seed), LISTS, rate=RATE, seconds=SECONDS)] for seed in (1, 1, 2)
    )
    assert first == second != other
    assert first == sorted(first)
    assert 0 < first[0] < first[-1] < SECONDS
    assert len(first) == pytest.approx(RATE * SECONDS, rel=0.15)


async def test_a_server_that_stops_shows_in_the_corrected_latencies_alone(answering: Answering) -> None:
    arrivals = list(schedule(Traffic(1), LISTS, rate=RATE, seconds=SECONDS))

    async def stop() -> None:
        await asyncio.sleep(2)
        os.kill(answering.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(STALL)
        finally:
            os.kill(answering.pid, signal.SIGCONT)

    found, _ = await asyncio.gather(drive(answering.url, iter(arrivals), connections=CONNECTIONS), stop())
    corrected, naive = found.corrected.total(), found.naive.total()
    assert (corrected.ok, naive.ok) == (len(arrivals), len(arrivals))
    assert naive.latencies.percentile(1) > STALL / 2
    assert naive.latencies.percentile(0.99) < STALL / 2 < corrected.latencies.percentile(0.99) < 2 * STALL


async def test_what_is_not_answered_is_counted() -> None:
    arrivals = schedule(Traffic(1), LISTS, rate=50, seconds=0.5)
    found = await drive("http://127.0.0.1:1", arrivals, connections=2)
    assert found.corrected.total().ok == 0
    assert found.corrected.total().faults["no answer: the connection ended"] > 5


async def test_a_connection_that_was_closed_while_idle_is_not_used_again() -> None:
    ended: list[asyncio.StreamWriter] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()
        ended.append(writer)

    async with await asyncio.start_server(once, "127.0.0.1", 0) as server:
        client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(3):
            assert await client.exchange(b"GET / HTTP/1.1\r\n\r\n") == ("200", b"{}")
            await asyncio.sleep(0.1)
        await client.close()
    assert len(ended) == 3
