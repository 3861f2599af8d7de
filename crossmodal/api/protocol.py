"""What the web server answers by itself, before there is a request the app could see: broken HTTP.

uvicorn answers it in plain text, waits for ever for the rest of a request's head and lets a head grow without bound.
This protocol class answers with problems and bounds both. It also keeps idle connections longer. ``install`` makes
uvicorn use it; ``stand_around`` puts an ASGI wrapper around whatever app the server has.
"""

import asyncio
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import uvicorn.config
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from crossmodal import telemetry
from crossmodal.api.encoding import dump_json
from crossmodal.api.joining import JoiningTransport
from crossmodal.api.problems import MEDIA_TYPE, problem_body
from crossmodal.errors import CrossModalError, HeadersTooLarge, MalformedBody, RequestTimeout

HEAD_SECONDS = 20.0
"""How long a client may take to send the head of a request."""
MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together, and what stands between two pieces of content or after the last."""
READING_SECONDS = 20.0
READING_BYTES = 64 * 1024
"""A client that has more to read than fits on the way must read so much in so many seconds."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept at least: longer than clients and balancers keep theirs, since whoever closes first
risks that the other is just sending. uvicorn's own 5 s are httpx's too."""
_SEPARATORS = 4  # colon, blank and line end of a header
_BROKEN = "the request is not valid HTTP/1.1: its request line, headers or chunks are broken"


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with problems and bounds for what never becomes a request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = max(self.timeout_keep_alive, KEEP_ALIVE_SECONDS)
        self.app = _around(self.app)
        self._overhead = 0
        self._unfinished = True
        self._head_is_there = False
        self._reading_timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._fault: CrossModalError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Give the first request its time."""
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport, self.loop)))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        if self._reading_timer is not None:
            self._reading_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what is no content: an unfinished head, trailers, extensions of chunks."""
        self._overhead += len(data)
        super().data_received(data)
        if self._unfinished and self._overhead > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HeadersTooLarge(f"the request has over {MAX_HEAD_BYTES} bytes that are no content"))

    def on_body(self, body: bytes) -> None:
        """Content came: what is counted begins anew."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole, with its trailers."""
        self._overhead = 0
        self._unfinished = False
        super().on_message_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are none: a proxy that checks headers does not see them, so neither may the app."""
        if not self._head_is_there:
            super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Give a further request on the connection its time."""
        self._unfinished, self._head_is_there = True, False
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there; one that must be refused ends the parsing, which calls ``send_400_response``."""
        self._stop_waiting()
        self._head_is_there = True
        self._fault = _fault_of(self.headers, self.parser.get_http_version())
        if self._fault is not None:
            raise self._fault
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's signature
        """Answer what is no HTTP with a problem; uvicorn's own word for it says no more than that."""
        self._refuse(self._fault or MalformedBody(_BROKEN))

    def _should_upgrade(self) -> bool:
        """Never: there are no WebSockets here, and the answer to plain HTTP is the better one."""
        return False

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is made: see to it that it reads at all."""
        super().pause_writing()
        if self._reading_timer is None:
            self._unread = self.transport.get_write_buffer_size()
            self._reading_timer = self.loop.call_later(READING_SECONDS, self._check_reading)

    def _check_reading(self) -> None:
        """End the connection of a client that hardly reads; what is kept for it, and its place, are needed."""
        self._reading_timer = None
        unread, before = self.transport.get_write_buffer_size(), self._unread
        if before - unread < READING_BYTES and self.flow.write_paused:
            self.transport.abort()
        elif self.flow.write_paused:
            self.pause_writing()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._overhead:
            self._refuse(RequestTimeout(f"the request's head did not come within {HEAD_SECONDS:.0f} seconds"))
        elif not self.transport.is_closing():
            self.transport.close()  # a connection opened in advance and never used

    def _refuse(self, error: CrossModalError) -> None:
        """Answer and close, unless an answer is under way already: then the connection just ends."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        # uvicorn declares a cycle from the start, but there is none before the first request.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_raw_response(error))
        self.transport.close()


def _fault_of(headers: list[tuple[bytes, bytes]], version: str) -> CrossModalError | None:
    """What the parser lets pass and must not: too much, and not exactly one Host (RFC 9112, section 3.2)."""
    if sum(len(name) + len(value) + _SEPARATORS for name, value in headers) > MAX_HEAD_BYTES:
        return HeadersTooLarge(f"the request's headers are over {MAX_HEAD_BYTES} bytes")
    hosts = sum(name.lower() == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version == "1.1"):
        return MalformedBody(f"the request has {hosts} Host headers; HTTP/1.1 wants exactly one")
    return None


def install() -> None:
    """Make every uvicorn server of this process use ``GuardedProtocol``."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{GuardedProtocol.__name__}"


def stand_around(wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Let ``wrap`` stand around the app of this process's servers, outside of every middleware of its own."""
    _wraps[:] = [wrap]
    _wrapped.clear()


_wraps: list[Callable[[ASGIApp], ASGIApp]] = []
_wrapped: dict[int, ASGIApp] = {}


def _around(app: Any) -> Any:
    """``app`` as the wrapper has it; made once, though each connection asks."""
    if not _wraps:
        return app
    if id(app) not in _wrapped:
        _wrapped[id(app)] = _wraps[0](app)
    return _wrapped[id(app)]


def _raw_response(error: CrossModalError) -> bytes:
    telemetry.count_problem(error)
    token = telemetry.request_id.set(uuid.uuid4().hex)
    try:
        body = dump_json(problem_body(error))
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {telemetry.request_id.get()}\r\nconnection: close\r\n\r\n"
        )
    finally:
        telemetry.request_id.reset(token)
    return head.encode("ascii") + body
