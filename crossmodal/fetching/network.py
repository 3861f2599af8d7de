"""Connections that go to checked addresses only.

A name is resolved once, right before connecting; every address it has is checked, one bad one refuses them all, and the
connection is made to an address, so that a name server that changes its mind between check and use (DNS rebinding)
changes nothing. TLS is still negotiated and verified for the name: httpcore does that with the stream returned here.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any, Protocol

import httpcore

from crossmodal.fetching.addresses import Address, Judge, Reach

_RESOLVER_THREADS = 8
_MAX_ATTEMPTS = 4
"""So many of a name's addresses are tried before it counts as not answering."""
_HEAD_BYTES = 128 * 1024
"""Bytes a server may send before its status and headers are complete: interim responses (1xx) have no end otherwise."""


class Refused(httpcore.ConnectError):
    """The host has no address, or one it must not have."""


class Resolver(Protocol):
    """Names to addresses."""

    async def resolve(self, host: str) -> Sequence[Address]:
        """All addresses of ``host``; empty if it does not exist."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class SystemResolver:
    """Asks as the machine is set up to, on threads of its own: a name server that hangs must block nobody else."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")

    async def resolve(self, host: str) -> Sequence[Address]:
        """All addresses of ``host``, in the order to try them in; empty if it does not exist."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _look_up, host)

    def close(self) -> None:
        """Drop what waits; what is being asked ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> Sequence[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses: dict[Address, None] = {}  # each once, in their order
    for family, _, _, _, place in found:
        if family in {socket.AF_INET, socket.AF_INET6}:
            addresses[ip_address(place[0])] = None
    return list(addresses)


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Makes the connection of one request to one target; ``allowed`` are the addresses it may have."""

    def __init__(self, resolver: Resolver, judge: Judge, allowed: frozenset[Reach], address: Address | None) -> None:
        self._resolver = resolver
        self._judge = judge
        self._allowed = allowed
        self._address = address
        self._network = httpcore.AnyIOBackend()
        self._meter = _Meter(_HEAD_BYTES)
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def aclose(self) -> None:
        """Close the connection, whatever became of it."""
        if self._stream is not None:
            await self._stream.aclose()

    def head_is_read(self) -> None:
        """Status and headers have come; how much may follow is the caller's to count."""
        self._meter.left = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a checked address of ``host``. Raises ``Refused``, or httpcore's error of the last attempt."""
        addresses = [self._address] if self._address is not None else await self._resolver.resolve(host)
        if not addresses or any(self._judge(address) not in self._allowed for address in addresses):
            raise Refused
        failure: httpcore.NetworkError | httpcore.TimeoutException = Refused()
        for address in addresses[:_MAX_ATTEMPTS]:
            try:
                stream = await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                self._stream = _MeteredStream(stream, self._meter)
                return self._stream
        raise failure


class _Meter:
    """Bytes that may still come; None for any number."""

    def __init__(self, left: int) -> None:
        self.left: int | None = left

    def count(self, came: int) -> None:
        if self.left is not None:
            self.left -= came
            if self.left < 0:
                raise httpcore.RemoteProtocolError


class _MeteredStream(httpcore.AsyncNetworkStream):
    """A connection whose incoming bytes are counted."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, meter: _Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore's
        came = await self._stream.read(max_bytes, timeout)
        self._meter.count(len(came))
        return came

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore's
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        with suppress(OSError):  # the other end may have gone already
            await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's
    ) -> httpcore.AsyncNetworkStream:
        return _MeteredStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._meter)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
