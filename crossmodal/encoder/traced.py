"""Around everything that serves an encoder: the span of a call, as a part of the trace that its caller names."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossmodal import tracing

_METHODS = frozenset({"embed_pixels", "embed_texts"})
"""The methods that work is done for; a sign of life each second makes no spans."""


class TracedEncoder:
    """ASGI middleware for both ways to an encoder in another process: paths end with the method."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        method = scope["path"].rpartition("/")[2] if scope["type"] == "http" else ""
        if method not in _METHODS:
            await self._app(scope, receive, send)
            return
        with tracing.request(scope["method"], scope["headers"], name=method) as span:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.answered(message["status"])
                await send(message)

            await self._app(scope, receive, answer)
