"""BentoML's own app between our edge and our routes, held to what its parts can bear.

Its metrics keep some twenty series for each path that was ever asked for, and paths are made up by clients: it is shown
one of a few instead. Its tracing makes three spans of every request, whether or not anybody gets them; ours are others. And its mount of an
app that it knows looks through all routes before that app does so again: ours is one that it does not know.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from crossmodal import tracing
from crossmodal.tracing.foreign import without_foreign_spans

OWN_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/metrics", "/schema.json"})
"""What BentoML answers itself."""
UNKNOWN = "/unknown"

_ASKED = "crossmodal.asked"
"""Where a scope has the path that was asked for."""


class Outside:
    """Around BentoML's app: hides paths, and what needs no spans."""

    def __init__(self, app: ASGIApp, paths: Iterable[str], *, traced: bool) -> None:
        """``paths`` are those of our routes, templates as they are written; ``traced``: its spans are wanted."""
        given = set(paths)
        self._app = app
        self._whole = {path for path in given if "{" not in path} | OWN_PATHS
        self._firsts = {_first(path) for path in given}
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] == "http":
            scope = {**scope, _ASKED: scope["path"], "path": self.shown(scope["path"])}
        if self._traced:
            await self._app(scope, receive, send)
            return
        with without_foreign_spans():
            await self._app(scope, receive, send)

    def shown(self, path: str) -> str:
        """What BentoML sees of ``path``: itself if it is a route's, else its first part, else that it is unknown."""
        if path in self._whole:
            return path
        first = _first(path)
        return first if first in self._firsts else UNKNOWN


class Inside:
    """Around our app, mounted on BentoML's at ``/``: gives it the path that was asked for, and notes the route it took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if _ASKED in scope:
            scope = {**scope, "path": scope[_ASKED], "route": None}  # BentoML's is the mount
        try:
            await self._app(scope, receive, send)
        finally:
            if (route := scope.get("route")) is not None:
                tracing.route(route.path_format)


def _first(path: str) -> str:
    return "/" + path.lstrip("/").partition("/")[0]
