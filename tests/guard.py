"""The gate before an app, as plainly as it can be put there: for tests of what goes on behind it."""

from starlette.types import ASGIApp, Receive, Scope, Send

from crossmodal.api.caller import set_caller
from crossmodal.api.gate import Gatekeeper, challenge
from crossmodal.api.problems import ProblemResponse
from crossmodal.errors import CrossModalError


class Guard:
    """Plain ASGI: admits a request and notes its caller, or answers with the problem."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = self._gatekeeper.admit(scope)
        except CrossModalError as error:
            await ProblemResponse(error, headers=challenge(scope, error))(scope, receive, send)
            return
        set_caller(scope, caller)  # type: ignore[arg-type]  # ASGI's scope is a dict
        await self._app(scope, receive, send)
