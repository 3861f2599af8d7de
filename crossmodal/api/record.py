"""What stays of a request: a place among the metrics, and a line of the log.

Under overload most requests are refused, and a line for each would cost as much as the rest of refusing it: beyond some a
second they are counted by caller, and one line says how many there were.
"""

import asyncio
from collections import Counter
from contextvars import Context
from http import HTTPStatus

import structlog
from starlette.types import Scope

from crossmodal import telemetry
from crossmodal.api.caller import CALLER, Caller
from crossmodal.api.traffic import BULK_PATHS

REFUSALS_LOGGED = 20
"""So many requests answered with 429 have a line each in ``REFUSALS_SECONDS``."""
REFUSALS_SECONDS = 1.0
_LOGGED_CHARS = 500

log = structlog.get_logger()


class Record:
    """The requests of one process; used in its event loop."""

    def __init__(self) -> None:
        self._refused = 0
        self._counted: Counter[str | None] = Counter()

    def add(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that took ``seconds``, ``status`` 0 if nothing was answered, and write its line.

        It is JSON, in which no path can begin a line of its own.
        """
        telemetry.count_request("bulk" if scope["path"].startswith(BULK_PATHS) else "interactive", status, seconds)
        caller = scope.get(CALLER)
        name = caller.name if isinstance(caller, Caller) else None
        if status == HTTPStatus.TOO_MANY_REQUESTS and not self._may_log_refusal(name):
            return
        log.info(
            "request",
            method=scope["method"],
            path=scope["path"][:_LOGGED_CHARS],
            status=status,
            ms=round(seconds * 1000, 1),
            caller=name,
            client=(scope.get("client") or [None])[0],
        )

    def _may_log_refusal(self, caller: str | None) -> bool:
        if not self._refused:
            asyncio.get_running_loop().call_later(REFUSALS_SECONDS, self._sum_up, context=Context())
        self._refused += 1
        if self._refused <= REFUSALS_LOGGED:
            return True
        self._counted[caller] += 1
        return False

    def _sum_up(self) -> None:
        """Write the line for those that have none."""
        counted, self._counted, self._refused = self._counted, Counter(), 0
        if counted:
            callers = {caller: count for caller, count in counted.items() if caller is not None}
            log.warning("more requests refused", status=429, count=counted.total(), callers=callers)
