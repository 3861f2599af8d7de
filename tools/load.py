"""Load on a server of this machine: a client light enough to share two cores with it, closed loop and open arrivals."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


def request_bytes(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """One HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


def multipart(content: bytes, field_name: str = "file") -> tuple[bytes, str]:
    """A form of one file, and its content type."""
    return multipart_of([content], field_name)


def multipart_of(contents: Sequence[bytes], field_name: str) -> tuple[bytes, str]:
    """A form of several files in one field, and its content type."""
    head = f'--b\r\nContent-Disposition: form-data; name="{field_name}"; filename="x"\r\n\r\n'.encode()
    return b"".join(head + content + b"\r\n" for content in contents) + b"--b--\r\n", "multipart/form-data; boundary=b"


@dataclass
class Outcome:
    """What came back: answers by status ("lost" where the connection ended without one), and seconds of the 200s."""

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Answers of 200 a second."""
        return self.statuses["200"] / self.seconds


class Client:
    """Connections to one server, kept and used again. ``url`` must be of this machine."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.hostname != "127.0.0.1" or parts.port is None:
            raise ValueError("load goes to 127.0.0.1 alone")
        self._port = parts.port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes, outcome: Outcome, due: float | None = None) -> None:
        """Send one request and count what comes; its latency counts from ``due``, when it should have been sent."""
        began = time.perf_counter() if due is None else due
        try:
            status, _ = await self.exchange(request)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            outcome.statuses["lost"] += 1
            return
        outcome.statuses[status] += 1
        if status == "200":
            outcome.latencies.append(time.perf_counter() - began)

    async def exchange(self, request: bytes) -> tuple[str, bytes]:
        """Status and body of the answer. Raises ``OSError``, ``IncompleteReadError`` or ``ValueError`` where none came."""
        reader, writer = self._kept() or await asyncio.open_connection("127.0.0.1", self._port)
        kept = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0]))
            kept = b"connection: close" not in head
            return head[9:12].decode("ascii"), body
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that the server has not closed while it was idle."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def close(self) -> None:
        """Close what is idle."""
        for _, writer in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def closed_loop(url: str, requests: list[bytes], *, clients: int, seconds: float) -> Outcome:
    """``clients`` that each send the next request when they have the answer to the last."""
    outcome, client, until = Outcome(), Client(url), time.perf_counter() + seconds

    async def one(number: int) -> None:
        while time.perf_counter() < until:
            await client.ask(requests[number % len(requests)], outcome)
            number += clients

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(clients)))
    outcome.seconds = time.perf_counter() - began
    await client.close()
    return outcome


async def open_arrivals(
    url: str, requests: list[bytes], *, rate: float, seconds: float, seed: int | None = None
) -> Outcome:
    """Requests that come whether or not earlier ones were answered, ``rate`` a second: evenly, or with a ``seed`` at random.

    At random they come as a Poisson process does, as from many people who know nothing of each other. Latencies count from
    when a request was due, so that a client or a server that halts hides nothing.
    """
    outcome, client, sent = Outcome(), Client(url), 0
    gaps = random.Random(seed)
    began, due = time.perf_counter(), 0.0
    async with asyncio.TaskGroup() as group:
        while (now := time.perf_counter() - began) < seconds:
            while due < now:
                group.create_task(client.ask(requests[sent % len(requests)], outcome, began + due))
                sent += 1
                due += 1 / rate if seed is None else gaps.expovariate(rate)
            await asyncio.sleep(0.001)
    outcome.seconds = time.perf_counter() - began
    await client.close()
    return outcome
