"""The service with a leak, for `--leak`: it keeps some bytes of every request. A run that does not see it sees no leak."""

import os

from starlette.types import Receive, Scope, Send

from crossmodal.api.edge import EdgeMiddleware
from loadtests.targets import LEAK_BYTES
from service import CrossModalSearch

__all__ = ["CrossModalSearch"]

_kept: list[bytearray] = []
_serve = EdgeMiddleware.__call__


async def _leaking(self: EdgeMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        _kept.append(bytearray(os.urandom(int(os.environ[LEAK_BYTES]))))
    await _serve(self, scope, receive, send)


EdgeMiddleware.__call__ = _leaking  # type: ignore[method-assign]  # which is the fault that is planted
