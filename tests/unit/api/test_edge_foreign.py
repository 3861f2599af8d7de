"""What the edge makes of answers and faults that are not the service's own: BentoML's, the framework's, a client's."""

import asyncio
import json

import httpx
import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits
from tests.unit.api.helpers import problem


async def ask(response: Response, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(EdgeMiddleware(response, traffic=Traffic(TrafficLimits(body=100))))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, "/")


@pytest.mark.parametrize(
    ("foreign", "status", "code"),
    [
        (PlainTextResponse("Not Found", 404), 404, "not_found"),
        (PlainTextResponse("no", 405, headers={"Allow": "GET"}), 405, "method_not_allowed"),
        (PlainTextResponse("Service is not ready because ...", 503), 503, "model_unavailable"),
        (JSONResponse({"error": "Timed out after 60s at /srv/app"}, 500), 500, "internal_error"),
    ],
)
async def test_a_foreign_error_becomes_a_problem(foreign: Response, status: int, code: str) -> None:
    answer = await ask(foreign)
    body = problem(answer, status, code)
    assert "/srv" not in answer.text
    assert body["detail"]


async def test_headers_that_say_what_to_do_are_kept() -> None:
    assert (await ask(PlainTextResponse("no", 405, headers={"Allow": "GET, PUT"}))).headers["allow"] == "GET, PUT"
    assert (await ask(PlainTextResponse("later", 503, headers={"Retry-After": "7"}))).headers["retry-after"] == "7"
    assert (await ask(PlainTextResponse("later", 503))).headers["retry-after"] == "2"


async def test_an_answer_that_is_none_of_its_business_passes() -> None:
    answer = await ask(PlainTextResponse("fine", 200, headers={"X-Frame-Options": "SAMEORIGIN"}))
    assert (answer.text, answer.headers["x-frame-options"]) == ("fine", "SAMEORIGIN")
    assert answer.headers["x-request-id"]


async def run(app: object) -> list[Message]:
    """Drive one exchange by hand; returns what was sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await EdgeMiddleware(app, traffic=Traffic(TrafficLimits(body=100)))(scope, receive, send)  # type: ignore[arg-type]
    return sent


async def test_a_client_that_left_is_a_499_for_the_access_log_and_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    async def app(_: Scope, __: Receive, ___: Send) -> None:
        raise ClientDisconnect

    start, _ = await run(app)
    assert start["status"] == 499
    (line,) = capsys.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["status"]) == ("request", 499)


async def test_a_fault_before_the_answer_is_a_500_and_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async def app(_: Scope, __: Receive, ___: Send) -> None:
        raise RuntimeError("inside")

    start, body = await run(app)
    assert start["status"] == 500
    assert b"inside" not in body["body"]
    assert "inside" in capsys.readouterr().err


async def test_a_fault_in_the_middle_of_an_answer_ends_the_connection() -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        await run(app)


async def test_other_kinds_of_connection_pass_untouched() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Message:
        return {"type": "none"}

    await EdgeMiddleware(app, traffic=Traffic(TrafficLimits(body=1)))({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
