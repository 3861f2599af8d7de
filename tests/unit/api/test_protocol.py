"""Broken HTTP over real sockets, to a real uvicorn with our protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from crossmodal.api import protocol
from tools.servers import free_port

GOOD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def app() -> list[Any]:
    """What answers; a test may put another in its place."""
    return [PlainTextResponse("fine")]


@pytest.fixture
async def port(app: list[Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")
    protocol.install()
    port = free_port()

    async def current(scope: Scope, receive: Receive, send: Send) -> None:
        await app[0](scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(current, port=port, log_level="critical"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield port
    server.should_exit = True
    await task


async def answers(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that comes back until the server closes, or 2 seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)
    got = b""
    try:
        async with asyncio.timeout(2):
            while data := await reader.read(65536):
                got += data
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return got


def problem(raw: bytes) -> tuple[int, str]:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert lines[b"content-type"] == b"application/problem+json"
    content = json.loads(body)
    assert content["request_id"].encode() == lines[b"x-request-id"]
    assert lines[b"connection"] == b"close"
    assert int(lines[b"content-length"]) == len(body)
    return int(head.split()[1]), content["code"]


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET  / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_is_a_problem(port: int, raw: bytes) -> None:
    assert problem(await answers(port, raw)) == (400, "malformed_body")
    assert (await answers(port, GOOD)).startswith(b"HTTP/1.1 200")


async def test_a_head_without_end_is_refused(port: int) -> None:
    pieces = [b"GET / HTTP/1.1\r\nX-Long: ", *[b"a" * 16_384] * 4]
    assert problem(await answers(port, *pieces)) == (431, "headers_too_large")


async def test_many_headers_that_come_at_once_are_refused(port: int) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n"
    assert problem(await answers(port, raw)) == (431, "headers_too_large")


async def test_a_head_of_allowed_size_is_taken(port: int) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n"
    assert (await answers(port, raw)).startswith(b"HTTP/1.1 200")


async def test_a_head_that_does_not_end_in_time_is_answered(port: int) -> None:
    assert problem(await answers(port, b"GET / HTTP/1.1\r\nHos")) == (408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    assert await answers(port) == b""


async def test_each_request_of_a_connection_has_its_own_time(port: int) -> None:
    got = await answers(port, GOOD, GOOD, GOOD, pause=0.2)
    assert got.count(b"HTTP/1.1 200 OK") == 3
    stalled = await answers(port, GOOD, b"GET / HTTP/1.1\r\nHo", pause=0.05)
    assert stalled.count(b"HTTP/1.1 200 OK") == 1
    assert problem(stalled[stalled.rindex(b"HTTP/1.1") :]) == (408, "request_timeout")


async def test_a_websocket_is_answered_as_plain_http(port: int) -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert (await answers(port, upgrade)).startswith(b"HTTP/1.1 200")


def echo_headers() -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        names = sorted(name.decode() for name, _ in scope["headers"])
        await PlainTextResponse(" ".join(names))(scope, receive, send)

    return app


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"


async def test_trailers_are_no_headers(port: int, app: list[Any]) -> None:
    app[0] = echo_headers()
    got = await answers(port, CHUNKED + b"Authorization: Bearer x\r\nX-Request-ID: y\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200")
    assert got.endswith(b"host transfer-encoding")


@pytest.mark.parametrize("piece", [b"a: b\r\n", b"a"], ids=["many", "one without end"])
async def test_trailers_without_end_are_refused(port: int, app: list[Any], piece: bytes) -> None:
    app[0] = echo_headers()
    got = await answers(port, CHUNKED + piece, *[piece * (16_400 // len(piece))] * 5)
    assert problem(got) == (431, "headers_too_large")


async def test_a_chunk_extension_without_end_is_refused(port: int, app: list[Any]) -> None:
    app[0] = echo_headers()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;"
    got = await answers(port, head, *[b"a" * 16_384] * 4)
    assert problem(got) == (431, "headers_too_large")


async def test_a_client_that_does_not_read_is_cut_off(
    port: int, app: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READING_SECONDS", 0.3)
    ended = asyncio.Event()

    async def endless(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        leaving = asyncio.ensure_future(_until_gone(receive))
        while not leaving.done():
            await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
            await asyncio.sleep(0)
        ended.set()

    app[0] = endless
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(GOOD)
    async with asyncio.timeout(10):
        await ended.wait()
    writer.close()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_head_and_body_of_an_answer_come_together(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(5):
        writer.write(GOOD)
        assert (await reader.read(65536)).endswith(b"\r\n\r\nfine")
    writer.close()
