"""What keeps BentoML's own middleware from making spans of each request and of each piece of it."""

from opentelemetry.instrumentation.utils import suppress_http_instrumentation as without_foreign_spans
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Unspanned", "without_foreign_spans"]


class Unspanned:
    """Around an app whose middleware is to make none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        with without_foreign_spans():
            await self._app(scope, receive, send)
