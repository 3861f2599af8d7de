"""What happens to every request, whichever route it takes: an id, a size limit, timing, headers, one shape of errors."""

import re
import uuid
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmodal import telemetry
from crossmodal.api.problems import MEDIA_TYPE, ProblemResponse, from_status
from crossmodal.errors import ModelUnavailable, PayloadTooLarge

log = structlog.get_logger()

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
_FIRST_ERROR = 400
_UNAVAILABLE = 503

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
}


class EdgeMiddleware:
    """Plain ASGI, outside of routing, so that it sees also what no route of ours answers."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._max_body_bytes)
        id_token = telemetry.request_id.set(_request_id(Headers(scope=scope)))
        stages_token = telemetry.start_stages()
        try:
            declared = Headers(scope=scope).get("content-length", "")
            if declared.isdecimal() and int(declared) > self._max_body_bytes:
                await ProblemResponse(exchange.too_large(f"{declared} bytes"))(scope, receive, exchange.send)
            else:
                await exchange.serve(self._app, scope)
        finally:
            telemetry.end_stages(stages_token)
            telemetry.request_id.reset(id_token)


class _Exchange:
    """One request and its response on the way."""

    def __init__(self, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._received = 0
        self._started = False
        self._foreign_status: int | None = None
        self._foreign_headers: dict[str, str] = {}

    def too_large(self, came: str) -> PayloadTooLarge:
        return PayloadTooLarge(f"the body holds {came}; at most {self._max_body_bytes} bytes are allowed")

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._max_body_bytes:
                raise self.too_large("more")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if message["status"] >= _FIRST_ERROR and headers.get("content-type") != MEDIA_TYPE:
                # BentoML's own plain answers: held back, and replaced by a problem once they are complete.
                self._foreign_status = message["status"]
                self._foreign_headers = {name: headers[name] for name in ("allow", "retry-after") if name in headers}
                return
            self._started = True
            self._complete(headers)
        elif self._foreign_status is not None:
            return
        await self._send(message)

    async def serve(self, app: ASGIApp, scope: Scope) -> None:
        """Let ``app`` answer; what it leaves unanswered or answers in another shape becomes a problem."""
        try:
            await app(scope, self.receive, self.send)
        except ClientDisconnect:
            return
        except PayloadTooLarge as error:
            if not self._started:
                await ProblemResponse(error)(scope, self._receive, self.send)
            return
        except Exception:
            log.exception("request failed unexpectedly", path=scope["path"])
            if self._started:
                raise
            self._foreign_status = 500
        await self._finish(scope)

    async def _finish(self, scope: Scope) -> None:
        """Send the problem that stands for a foreign error, if there was one."""
        if self._foreign_status is None:
            return
        status, self._foreign_status = self._foreign_status, None
        error: Any = from_status(status, _FOREIGN_DETAILS.get(status, "the request could not be answered"))
        if status == _UNAVAILABLE:
            error = ModelUnavailable("the service is not ready: a part of it is starting or gone")
        await ProblemResponse(error, headers=self._foreign_headers)(scope, self._receive, self.send)

    @staticmethod
    def _complete(headers: MutableHeaders) -> None:
        headers["X-Request-ID"] = telemetry.request_id.get()
        timing = telemetry.server_timing(telemetry.current_stages())
        if timing:
            headers["Server-Timing"] = timing
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)


_FOREIGN_DETAILS = {
    404: "there is no such route",
    405: "the route does not take this method",
    500: "something went wrong here; the log has it under this request_id",
}


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _CLIENT_ID.fullmatch(given) else uuid.uuid4().hex
