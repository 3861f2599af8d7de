"""A web server that says exactly what a test wants said, on loopback, and counts who came."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Self

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What follows a request: bytes as they are, or a function that writes them in its own way."""


def ok(body: bytes, *headers: str) -> bytes:
    """A complete answer 200."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")


class WebServer:
    """Listens on all ``hosts`` at one port; ``connections`` counts them, ``requests`` keeps the heads as they came."""

    def __init__(
        self, answers: Mapping[str, Answer] | None = None, *, hosts: tuple[str, ...], tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers = dict(answers or {})
        self.connections = 0
        self.requests: list[str] = []
        self.names_asked: list[str | None] = []
        self._hosts = hosts
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._port = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._faults: list[BaseException] = []

    @property
    def port(self) -> int:
        return self._port

    @property
    def lines(self) -> list[str]:
        """The request lines that came."""
        return [head.partition("\r\n")[0] for head in self.requests]

    async def __aenter__(self) -> Self:
        for host in self._hosts:
            self._servers.append(await asyncio.start_server(self._accept, host, self._port, ssl=self._tls))
            self._port = self._servers[0].sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        assert self._faults == [], "an answer of the test itself is at fault"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            self._faults.append(fault)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            answer = self.answers.get(head.split(" ")[1], b"HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\nsecret")
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client left: its right
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


def canary() -> WebServer:
    """A server nobody may ever reach, on both loopback addresses."""
    hosts = ("127.0.0.1", "::1") if _has_ipv6() else ("127.0.0.1",)
    return WebServer(dict.fromkeys(["/", "/x.png"], ok(b"secret")), hosts=hosts)


def _has_ipv6() -> bool:
    """Whether ::1 exists: in a container without it no form can reach it either."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
