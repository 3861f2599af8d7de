"""The line of the log that each request has, and what becomes of it under a flood of refusals."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from crossmodal.api import record
from crossmodal.api.caller import Caller, set_caller
from crossmodal.api.record import REFUSALS_LOGGED, Record


def scope_of(caller: str | None = None) -> dict[str, Any]:
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/search/text", "client": ("10.0.0.1", 1)}
    if caller is not None:
        set_caller(scope, Caller("public", frozenset(), caller))
    return scope


async def test_a_request_has_a_line() -> None:
    with capture_logs() as logs:
        Record().add(scope_of("ada"), 200, 0.0123)
    assert logs == [
        {
            "event": "request",
            "log_level": "info",
            "method": "POST",
            "path": "/search/text",
            "status": 200,
            "ms": 12.3,
            "caller": "ada",
            "client": "10.0.0.1",
        }
    ]


async def test_refusals_beyond_some_are_counted_by_caller_and_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "REFUSALS_SECONDS", 0.05)
    kept = Record()
    with capture_logs() as logs:
        for number in range(REFUSALS_LOGGED + 30):
            kept.add(scope_of("ada" if number % 3 else "bob"), 429, 0.001)
        kept.add(scope_of("ada"), 200, 0.001)
        await asyncio.sleep(0.1)
        kept.add(scope_of("ada"), 429, 0.001)
        await asyncio.sleep(0.1)
    lines = [line for line in logs if line["event"] == "request"]
    assert [line["status"] for line in lines] == [429] * REFUSALS_LOGGED + [200, 429]
    [rest] = [line for line in logs if line["event"] == "more requests refused"]
    assert rest["count"] == 30
    assert rest["callers"] == {"ada": 20, "bob": 10}


async def test_few_refusals_are_not_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "REFUSALS_SECONDS", 0.02)
    kept = Record()
    with capture_logs() as logs:
        for _ in range(REFUSALS_LOGGED):
            kept.add(scope_of(), 429, 0.001)
        await asyncio.sleep(0.05)
    assert {line["event"] for line in logs} == {"request"}
