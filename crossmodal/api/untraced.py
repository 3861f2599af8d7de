"""Keeps BentoML's tracing middleware from making spans that nobody gets."""

from opentelemetry.instrumentation.utils import suppress_http_instrumentation
from starlette.types import ASGIApp, Receive, Scope, Send


class Untraced:
    """Around BentoML's app. Its middleware makes three spans of every request, whether or not they are exported."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event without spans."""
        with suppress_http_instrumentation():
            await self._app(scope, receive, send)
