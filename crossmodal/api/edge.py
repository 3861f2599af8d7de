"""What happens to every request, whichever route it takes: an id, a key, a place, limits, one shape of errors."""

import asyncio
import re
import secrets
import time
from contextlib import nullcontext
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from crossmodal import telemetry, tracing
from crossmodal.api.caller import ANYBODY, set_caller
from crossmodal.api.exchange import Exchange
from crossmodal.api.gate import NOBODY, Gatekeeper, challenge
from crossmodal.api.record import Record
from crossmodal.api.traffic import Traffic
from crossmodal.errors import CrossModalError, ModelUnavailable

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")

READY_PATH = "/readyz"
PROBES = frozenset({READY_PATH, "/livez", "/healthz"})
"""Answered whatever the load: who asks decides whether this process lives."""
METRICS_PATH = "/metrics"
_NOT_LOGGED = PROBES | {METRICS_PATH}

PROBE_SECONDS = 4.0
"""A probe that takes longer is answered with 503: its reader has given up, or is about to."""


class EdgeMiddleware:
    """Plain ASGI, outside of routing, so that it sees also what no route of ours answers."""

    def __init__(self, app: ASGIApp, *, traffic: Traffic, gate: Gatekeeper | None = None) -> None:
        """``gate`` says who may do what; without one everybody may do everything."""
        self._app = app
        self._traffic = traffic
        self._gate = gate or Gatekeeper(None)
        self._record = Record()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id_token = telemetry.request_id.set(_request_id(Headers(scope=scope)))
        stages_token = telemetry.start_stages()
        exchange = Exchange(scope, receive, send, self._traffic, counted=scope["path"] not in PROBES)
        try:
            if scope["path"] in _NOT_LOGGED:
                await self._answer(exchange, scope)
            else:
                await self._answer_on_record(exchange, scope)
        finally:
            if scope["path"] == READY_PATH:
                telemetry.show_ready(ready=exchange.status == HTTPStatus.OK)
            telemetry.end_stages(stages_token)
            telemetry.request_id.reset(id_token)

    async def _answer_on_record(self, exchange: Exchange, scope: Scope) -> None:
        """Answer with a span, a line of the log, and a place among the metrics of requests."""
        with tracing.request(scope["method"], scope["headers"], request_id=telemetry.request_id.get()) as span:
            began = time.perf_counter()
            try:
                await self._answer(exchange, scope)
            finally:
                span.answered(exchange.status)
                self._record.add(scope, exchange.status, time.perf_counter() - began)

    async def _answer(self, exchange: Exchange, scope: Scope) -> None:
        try:
            if scope["path"] in PROBES:
                await self._probe(exchange, scope["path"])
            else:
                await self._serve(exchange, scope)
        except CrossModalError as error:
            await exchange.refuse(error, headers=challenge(scope, error))

    async def _serve(self, exchange: Exchange, scope: Scope) -> None:
        caller = self._gate.admit(scope)
        set_caller(scope, caller)
        if caller is NOBODY:  # what needs no key is little work, and must not keep out who has one
            await exchange.serve(self._app)
            return
        shown = nullcontext() if scope["path"] == METRICS_PATH else telemetry.in_flight()
        with self._traffic.place(scope["path"], None if caller is ANYBODY else caller.name), shown:
            await exchange.serve(self._app)

    async def _probe(self, exchange: Exchange, path: str) -> None:
        if path == READY_PATH and self._traffic.draining:
            raise ModelUnavailable("this replica is shutting down")
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await exchange.serve(self._app)
        except TimeoutError:
            raise ModelUnavailable("a part of the service does not answer") from None


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _CLIENT_ID.fullmatch(given) else secrets.token_hex(16)
