"""One request and its answer on the way through the edge: bounded in bytes and in time, and given up when the client is."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmodal import deadline, telemetry
from crossmodal.api.problems import MEDIA_TYPE, ProblemResponse, from_status
from crossmodal.api.traffic import BODY_BYTES_PER_SECOND, BODY_GRACE_SECONDS, Traffic
from crossmodal.errors import ClientGone, CrossModalError, DeadlineExceeded, PayloadTooLarge, RequestTimeout

log = structlog.get_logger()

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
}

_SECURITY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

SENDING_FACTOR = 10
"""An answer that has begun may take this many times the time it had to begin: clients read slowly."""
LINGER_SECONDS = 3.0
LINGER_BODIES = 5
"""How long, and for how many times the limit of a body, what is left of a refused one is read and dropped, so that its
sender gets to read the answer."""
CANCEL_SECONDS = 5.0
"""How long work that was given up may take to clean up before the answer is sent all the same."""
_SMALL_BODY = 2**20
"""The unread rest of a body that is declared to be no longer is dropped without closing the connection, bytes."""
_FIRST_ERROR = 400

_FOREIGN_DETAILS = {
    404: "there is no such route",
    405: "the route does not take this method",
    429: "too many requests are being answered",
    500: "something went wrong here; the log has it under this request_id",
    503: "the service is not ready: a part of it is starting or gone",
    504: "the answer took too long",
}


class Exchange:
    """A request that has been let in. ``serve`` lets an app answer it and answers itself where the app does not."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, traffic: Traffic, *, counted: bool = True) -> None:
        """``counted``: the problems that it answers with itself count as the service's."""
        self._counted = counted
        self._scope = scope
        self._receive = receive
        self._send = send
        self._traffic = traffic
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        self._declared = int(declared) if declared.isdecimal() else None
        self._has_body = bool(self._declared) or "transfer-encoding" in headers
        self._received = 0
        self._began = asyncio.get_running_loop().time()
        self._closing = scope.get("http_version") == "1.0" or headers.get("connection", "").lower() == "close"
        self._unread_start = not self._has_body
        self._complete = asyncio.Event()
        self._gone = asyncio.Event()
        self.status = 0
        """The status answered, 0 before there is one."""
        self._started = False
        self._ended = False
        self._lingers = False
        self._foreign_status: int | None = None
        self._foreign_headers: dict[str, str] = {}

    async def refuse(self, error: CrossModalError, headers: Mapping[str, str] | None = None) -> None:
        """Answer with a problem, without an app."""
        await ProblemResponse(error, headers=headers, counted=self._counted)(self._scope, self._receive, self.send)

    async def serve(self, app: ASGIApp) -> None:
        """Let ``app`` answer within the time there is; what it leaves unanswered or answers otherwise is a problem."""
        limit = self._traffic.limits.body
        if self._declared is not None and self._declared > limit:
            await self.refuse(_too_large(f"{self._declared} bytes", limit))
            return
        with deadline.within(self._traffic.limits.timeout):
            work = asyncio.ensure_future(app(self._scope, self.receive, self.send))
        watch = asyncio.ensure_future(self._watch())
        try:
            await self._finish(work, watch)
            await self._replace_foreign()
        except ClientDisconnect:
            await self._forget()
        except CrossModalError as error:
            await self._fail(error)
        except Exception:
            log.exception("request failed unexpectedly", path=self._scope["path"])
            if self._started:
                raise
            self._foreign_status = 500
            await self._replace_foreign()
        finally:
            watch.cancel()
            await _give_up(work)
            self._traffic.buffer(-self._received)

    async def receive(self) -> Message:
        """Hand the app a piece of the body. Raises ``PayloadTooLarge``, ``Overloaded``."""
        if self._complete.is_set() and not self._unread_start:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        if self._unread_start:
            self._unread_start = False
            self._complete.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await self._receive_in_time()
        if message["type"] == "http.disconnect":
            self._gone.set()
            return message
        self._count(len(message.get("body", b"")))
        if not message.get("more_body", False):
            self._complete.set()
        return message

    async def send(self, message: Message) -> None:
        """Send on what the app answers; hold back an error that is no problem."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if message["status"] >= _FIRST_ERROR and headers.get("content-type") != MEDIA_TYPE:
                # BentoML's own plain answers: held back, and replaced by a problem once they are complete.
                self._foreign_status = message["status"]
                self._foreign_headers = {name: headers[name] for name in ("allow", "retry-after") if name in headers}
                return
            self._started = True
            self.status = message["status"]
            self._add_headers(headers, message["status"])
        elif self._foreign_status is not None:
            return
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and self._lingers:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        self._ended = last
        await self._send(message)

    async def _receive_in_time(self) -> Message:
        """The next piece of the body. Raises ``RequestTimeout`` if it has come too slowly so far."""
        try:
            async with asyncio.timeout_at(self._began + BODY_GRACE_SECONDS + self._received / BODY_BYTES_PER_SECOND):
                return await self._receive()
        except TimeoutError:
            rate = f"{BODY_BYTES_PER_SECOND // 1024} KiB a second"
            raise RequestTimeout(f"the body comes too slowly: {self._received} bytes so far; {rate} are due") from None

    def _count(self, count: int) -> None:
        limit = self._traffic.limits.body
        if self._received + count > limit:
            raise _too_large("more", limit)
        self._traffic.buffer(count)
        self._received += count

    async def _watch(self) -> None:
        """Return when the client closed the connection. Nobody else reads once the body is complete."""
        if self._has_body:
            await self._complete.wait()
        elif (await self._receive())["type"] == "http.disconnect":
            self._gone.set()
            return
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def _finish(self, work: asyncio.Future[None], watch: asyncio.Future[None]) -> None:
        """Wait for the app. Raises what it raises, ``ClientGone``, or ``DeadlineExceeded``."""
        timeout = self._traffic.limits.timeout
        await asyncio.wait({work, watch}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._started and not work.done() and not watch.done():
            await asyncio.wait({work, watch}, timeout=SENDING_FACTOR * timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._ended:  # the server says "disconnected" once all is sent, too
            await asyncio.wait({work}, timeout=CANCEL_SECONDS)
        if work.done():
            work.result()
        elif watch.done():
            raise ClientDisconnect
        else:
            raise DeadlineExceeded(f"there was no answer within {timeout:g} seconds")

    async def _fail(self, error: CrossModalError) -> None:
        if not self._started:
            if isinstance(error, DeadlineExceeded):
                log.warning("request over its time", code=error.code, path=self._scope["path"])
            await self.refuse(error)
            return
        log.warning("an answer was broken off", code=error.code, path=self._scope["path"])
        raise ConnectionAbortedError(error.detail)

    async def _forget(self) -> None:
        """Tell the middleware around, which waits for an answer, that the exchange is over; nothing is sent."""
        if not self._started:
            with suppress(Exception):
                await self.refuse(ClientGone("the client closed the connection"))

    async def _replace_foreign(self) -> None:
        """Send the problem that stands for a foreign error, if there was one."""
        if self._foreign_status is None:
            return
        status, self._foreign_status = self._foreign_status, None
        error: Any = from_status(status, _FOREIGN_DETAILS.get(status, "the request could not be answered"))
        await self.refuse(error, headers=self._foreign_headers)

    def _add_headers(self, headers: MutableHeaders, status: int) -> None:
        headers["X-Request-ID"] = telemetry.request_id.get()
        timing = telemetry.server_timing(telemetry.current_stages())
        if timing:
            headers["Server-Timing"] = timing
        given = {name for name, _ in headers.raw}
        headers.raw.extend(header for header in _SECURITY_HEADERS if header[0] not in given)
        if self._traffic.draining:
            headers["Connection"] = "close"  # the next request goes to another replica
        unread = self._has_body and not self._complete.is_set()
        large = self._declared is None or self._declared > _SMALL_BODY
        if status >= _FIRST_ERROR and unread and (large or self._closing or self._traffic.draining):
            self._lingers = True
            headers["Connection"] = "close"

    async def _linger(self) -> None:
        """Read and drop what is still coming, within bounds: closing at once would take the answer from its reader."""
        left = LINGER_BODIES * self._traffic.limits.body
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
                    await asyncio.sleep(0)  # a piece that is there already lets nobody else run


def _too_large(came: str, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body holds {came}; at most {limit} bytes are allowed")


async def _give_up(work: asyncio.Future[None]) -> None:
    if work.done():
        if not work.cancelled():
            work.exception()  # marks it as seen
        return
    work.cancel()
    await asyncio.wait({work}, timeout=CANCEL_SECONDS)
