"""What happens to every request, whichever route it takes: an id, a key, a place, limits, one shape of errors."""

import asyncio
import re
import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from crossmodal import telemetry
from crossmodal.api.caller import set_caller
from crossmodal.api.exchange import Exchange
from crossmodal.api.gate import Gatekeeper, challenge
from crossmodal.api.traffic import Traffic
from crossmodal.errors import CrossModalError, ModelUnavailable

_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")

READY_PATH = "/readyz"
PROBES = frozenset({READY_PATH, "/livez", "/healthz"})
"""Answered whatever the load: who asks decides whether this process lives."""
PROBE_SECONDS = 4.0
"""A probe that takes longer is answered with 503: its reader has given up, or is about to."""


class EdgeMiddleware:
    """Plain ASGI, outside of routing, so that it sees also what no route of ours answers."""

    def __init__(self, app: ASGIApp, *, traffic: Traffic, gate: Gatekeeper | None = None) -> None:
        """``gate`` says who may do what; without one everybody may do everything."""
        self._app = app
        self._traffic = traffic
        self._gate = gate or Gatekeeper(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id_token = telemetry.request_id.set(_request_id(Headers(scope=scope)))
        stages_token = telemetry.start_stages()
        exchange = Exchange(scope, receive, send, self._traffic)
        try:
            if scope["path"] in PROBES:
                await self._probe(exchange, scope["path"])
            else:
                await self._serve(exchange, scope)
        except CrossModalError as error:
            await exchange.refuse(error, headers=challenge(scope, error))
        finally:
            telemetry.end_stages(stages_token)
            telemetry.request_id.reset(id_token)

    async def _serve(self, exchange: Exchange, scope: Scope) -> None:
        set_caller(scope, self._gate.admit(scope))
        with self._traffic.place(scope["path"]):
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
    return given if _CLIENT_ID.fullmatch(given) else uuid.uuid4().hex
