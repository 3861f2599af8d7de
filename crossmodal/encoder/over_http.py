"""Calls to an encoder that is served elsewhere: ``crossmodal.encoder.wire`` over HTTP, many calls on few connections.

Connections are kept, and none for long: a balancer that shares out connections sends the work of each to one replica for
good, and one that came later would get none. A connection that is old ends between two calls, never in one.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import httpcore

from crossmodal import deadline, telemetry, tracing
from crossmodal.batching import Lane
from crossmodal.encoder import wire
from crossmodal.encoder.remote import unpack_info
from crossmodal.errors import (
    ConfigurationError,
    CrossModalError,
    DeadlineExceeded,
    ModelUnavailable,
    Overloaded,
    Shed,
)

T = TypeVar("T")

CONNECT_SECONDS = 1.5
CONNECT_RETRIES = 2
"""Further attempts to connect, at once and after half a second."""
CALL_ATTEMPTS = 2
"""A call whose connection ended without a whole answer is made once more: the encoder that had it may be gone, and what it makes
of a call depends on nothing but the call. What was answered, however badly, and what took too long is not."""
CONNECTION_SECONDS = 30.0
"""The age at which a connection is used no more, give or take a fifth, so that not all end together."""
SPREAD = 0.2
"""That fifth."""
_IDLE_SECONDS = 20.0  # the other side keeps them for longer: who closes first risks that a call is just being sent
_MAX_IDLE = 64

_TOO_LATE = "the model did not answer in time; try again"
_TOO_MUCH = "too much waits for the model; try again in a moment"
_UNREACHED = "the model's process cannot be reached; try again in a moment"
_UNUSABLE = "the model does not answer; try again in a moment"


class HttpCall:
    """A ``crossmodal.encoder.remote.Call`` to ``http(s)://HOST[:PORT]``; ``close`` after use.

    A call takes at most the time that the present request still has, and ``timeout`` seconds where there is none.
    """

    def __init__(
        self, url: str, *, timeout: float, tls: ssl.SSLContext | None = None, age: float = CONNECTION_SECONDS
    ) -> None:
        """``tls`` says whom to trust, by default whom the system does; ``age`` is that of a connection, seconds."""
        self._base = url.rstrip("/") + wire.PATH
        self._host = self._base.partition("://")[2].partition("/")[0].encode("ascii")
        self._timeout = timeout
        self._pool = _Pool(tls or (ssl.create_default_context() if url.startswith("https:") else None), age)

    async def __call__(self, method: str, /, **arguments: Any) -> Any:
        """Call ``method`` there: the members of `describe`, or float32 rows.

        Raises ``ModelUnavailable``, ``Overloaded``, ``DeadlineExceeded``.
        """
        left = self._left()
        try:
            async with asyncio.timeout(left):
                return await self._call(method, left, arguments)
        except TimeoutError as error:
            raise DeadlineExceeded(_TOO_LATE) from error
        except wire.BadMessage as error:
            raise ModelUnavailable(_UNUSABLE) from error
        except (_NoAnswer, httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise ModelUnavailable(_UNREACHED) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    def _left(self) -> float:
        remaining = deadline.remaining()
        left = self._timeout if remaining is None else min(self._timeout, remaining)
        if left <= 0:
            raise DeadlineExceeded(_TOO_LATE)
        return left

    async def _call(self, method: str, left: float, arguments: dict[str, Any]) -> Any:
        if method == "describe":
            return await self._ask("GET", method, None, wire.MAX_INFO_BYTES, _unpack_description)
        order = wire.Order(Lane(arguments["lane"]), arguments["fingerprint"], left)
        if method == "embed_pixels":
            count, message = len(arguments["pixels"]), wire.pack_pixels(arguments["pixels"], order)
        else:
            count, message = len(arguments["texts"]), wire.pack_texts(arguments["texts"], order)
        most = wire.max_answer_bytes(count)
        return await self._ask("POST", method, message, most, lambda body: wire.unpack_rows(body, items=count))

    async def _ask(
        self, verb: str, method: str, message: bytes | None, most: int, unpack: Callable[[bytearray], T]
    ) -> T:
        headers = [(b"host", self._host), (b"x-request-id", telemetry.request_id.get().encode("latin-1", "replace"))]
        headers += tracing.carried()
        if message is not None:
            headers.append((b"content-type", wire.MEDIA_TYPE.encode()))
        url, attempts = f"{self._base}/{method}", CALL_ATTEMPTS
        while True:
            attempts -= 1
            try:
                return await self._exchange(verb, url, headers, message, most, unpack)
            except (_NoAnswer, httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError):
                if not attempts:
                    raise

    async def _exchange(
        self,
        verb: str,
        url: str,
        headers: list[tuple[bytes, bytes]],
        message: bytes | None,
        most: int,
        unpack: Callable[[bytearray], T],
    ) -> T:
        timeouts = {"timeout": {"connect": CONNECT_SECONDS}}
        async with self._pool.stream(verb, url, headers=headers, content=message, extensions=timeouts) as response:
            if response.status == HTTPStatus.OK:
                return unpack(await _read(response, most))
            said = await _read(response, wire.MAX_INFO_BYTES)
            if response.status == HTTPStatus.BAD_GATEWAY:
                raise _NoAnswer(f"status {response.status}")
            raise _problem(response.status, said)


class _NoAnswer(Exception):
    """Who stands between says that the connection to the encoder ended without an answer."""


class _Connection(httpcore.AsyncHTTPConnection):
    """A connection that is used no more from ``retires`` on, in the time of ``time.monotonic``."""

    def __init__(self, *args: Any, retires: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._retires = retires

    def has_expired(self) -> bool:
        """Whether it is to be closed; what is on it is finished before."""
        return super().has_expired() or (self.is_idle() and time.monotonic() >= self._retires)


class _Pool(httpcore.AsyncConnectionPool):
    """Any number of connections at a time: the API bounds how many requests are in flight."""

    def __init__(self, tls: ssl.SSLContext | None, age: float) -> None:
        super().__init__(max_connections=None, max_keepalive_connections=_MAX_IDLE)
        self._tls = tls
        self._age = age

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """One that grows old."""
        age = self._age * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 -- no secret
        return _Connection(
            origin,
            ssl_context=self._tls,
            keepalive_expiry=_IDLE_SECONDS,
            retries=CONNECT_RETRIES,
            retires=time.monotonic() + age,
        )


async def _read(response: httpcore.Response, most: int) -> bytearray:
    """The body. Raises ``BadMessage`` if it has more than ``most`` bytes."""
    body = bytearray()
    async for piece in response.aiter_stream():
        if len(body) + len(piece) > most:
            raise wire.BadMessage(f"an answer of more than {most} bytes")
        body += piece
    return body


def _unpack_description(body: bytearray) -> dict[str, Any]:
    members = wire.unpack_members(body)
    try:
        unpack_info(dict(members))
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise wire.BadMessage(f"the model is not described as it should be: {error!r}") from error
    return members


def _problem(status: int, body: bytearray) -> CrossModalError:
    """What an answer other than 200 says, in our words: between here and there may be others who answer."""
    try:
        code = wire.unpack_members(body).get("code")
    except wire.BadMessage:
        code = None
    if Overloaded.code == code or status == Overloaded.status:
        error: CrossModalError = Overloaded(_TOO_MUCH, shed=Shed.MODEL)
    elif DeadlineExceeded.code == code or status == DeadlineExceeded.status:
        error = DeadlineExceeded(_TOO_LATE)
    else:
        error = ModelUnavailable(_UNUSABLE)
    error.__cause__ = wire.BadMessage(f"status {status}, code {code!r}")  # for the log
    return error
