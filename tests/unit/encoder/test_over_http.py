"""An encoder that is served elsewhere, over real sockets: what its callers get, and what each end does to a bad other end."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import trustme
from starlette.types import Receive, Scope, Send

from crossmodal import deadline, telemetry
from crossmodal.encoder import Lane, RemoteEncoder, over_http, wire
from crossmodal.encoder.over_http import HttpCall
from crossmodal.encoder.serving import EncoderApp
from crossmodal.errors import (
    CrossModalError,
    DeadlineExceeded,
    ModelUnavailable,
    NotFound,
    Overloaded,
    StoreUnavailable,
)
from tests.asgi import serving
from tests.fakes import SIZE, ColourModel, FaultyEncoder, info
from tests.webserver import Answer, WebServer, ok, redirect

ORDER = wire.Order(Lane.INTERACTIVE, "colour-model-1", 10.0)
ASKED: dict[str, Any] = {"texts": ["red"], "lane": "interactive", "fingerprint": "colour-model-1"}
ONE_ROW = wire.pack_rows(np.ones((1, 18), dtype=np.float32))


class Elsewhere:
    """The other end: our app around a real batcher, and from where it was called."""

    def __init__(self) -> None:
        self.model = ColourModel()
        self.encoder = FaultyEncoder(self.model)
        self.app = EncoderApp(max_bytes=100_000, timeout=10)
        self.app.encoder = self.encoder
        self.ports: list[int] = []
        self.ids: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ports.append(scope["client"][1])
        self.ids += [value.decode() for name, value in scope["headers"] if name == b"x-request-id"]
        await self.app(scope, receive, send)


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.model.release.set()
    elsewhere.encoder.fault = None
    await elsewhere.encoder.close()


@pytest.fixture
async def url(elsewhere: Elsewhere) -> AsyncIterator[str]:
    async with serving(elsewhere) as url:
        yield url


@asynccontextmanager
async def calling(url: str, **options: Any) -> AsyncIterator[HttpCall]:
    call = HttpCall(url, timeout=options.pop("timeout", 10), **options)
    try:
        yield call
    finally:
        await call.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- what another task does sets no event
            await asyncio.sleep(0.01)


async def test_answers_are_those_of_the_model(elsewhere: Elsewhere, url: str) -> None:
    call = HttpCall(url, timeout=10)
    encoder = RemoteEncoder(call, closing=call.close)
    texts = ["red", "blue " * 20, "", "grün green"]
    expected = ColourModel().embed_texts(texts)
    answer = await encoder.embed_texts(texts, Lane.BULK)
    np.testing.assert_array_equal(answer.embeddings, expected.embeddings)
    assert answer.tokens.tolist() == expected.tokens.tolist() == [1, 12, 0, 2]
    assert answer.truncated.tolist() == [False, True, False, False]
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(await encoder.embed_pixels(pixels), ColourModel().embed_pixels(pixels))
    assert elsewhere.encoder.lanes == [Lane.BULK, Lane.INTERACTIVE]
    there = await encoder.info()
    assert (there.fingerprint, there.dim, there.calibration) == ("colour-model-1", 16, info().calibration)
    await encoder.close()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Overloaded("secret"), Overloaded),
        (DeadlineExceeded("secret"), DeadlineExceeded),
        (ModelUnavailable("secret"), ModelUnavailable),
        (StoreUnavailable("secret"), ModelUnavailable),
        (NotFound("secret"), ModelUnavailable),
        (TimeoutError("secret"), DeadlineExceeded),
        (RuntimeError("secret"), ModelUnavailable),
    ],
)
async def test_faults_there_are_our_errors_here(
    elsewhere: Elsewhere, url: str, fault: Exception, expected: type[CrossModalError]
) -> None:
    async with calling(url) as call:
        elsewhere.encoder.fault = fault
        with pytest.raises(CrossModalError) as caught:
            await call("embed_texts", **ASKED)
        assert type(caught.value) is expected
        assert caught.value.shed == ("model" if expected is Overloaded else None)
        assert "secret" not in caught.value.detail
        elsewhere.encoder.fault = None
        assert (await call("embed_texts", **ASKED)).shape == (1, 18)


async def test_another_model_than_the_one_that_is_meant_is_not_asked(elsewhere: Elsewhere, url: str) -> None:
    async with calling(url) as call:
        for method, items in (("embed_texts", {"texts": ["red"]}), ("embed_pixels", {"pixels": picture(SIZE)})):
            with pytest.raises(ModelUnavailable):
                await call(method, lane="interactive", fingerprint="colour-model-2", **items)
    assert elsewhere.model.batches == []


async def test_while_nothing_is_served_it_is_unavailable(elsewhere: Elsewhere, url: str) -> None:
    elsewhere.app.encoder = None
    async with calling(url) as call:
        with pytest.raises(ModelUnavailable):
            await call("describe")


async def test_the_id_of_a_request_goes_with_it(elsewhere: Elsewhere, url: str) -> None:
    token = telemetry.request_id.set("asked-by-me")
    async with calling(url) as call:
        await call("embed_texts", **ASKED)
    telemetry.request_id.reset(token)
    assert elsewhere.ids == ["asked-by-me"]


def picture(size: int) -> Any:
    return np.zeros((1, size, size, 3), dtype=np.uint8)


BODY = wire.pack_texts(["red"], ORDER)
REFUSED: list[tuple[str, str, bytes | Iterator[bytes] | None, int, str]] = [
    ("GET", "/v1/encoder/embed_texts", None, 405, "method_not_allowed"),
    ("POST", "/v1/encoder/describe", b"", 405, "method_not_allowed"),
    ("GET", "/v1/encoder/open", None, 404, "not_found"),
    ("GET", "/v1/encoder/", None, 404, "not_found"),
    ("GET", "/describe", None, 404, "not_found"),
    ("POST", "/v1/encoder/embed_texts", b"", 400, "malformed_body"),
    ("POST", "/v1/encoder/embed_texts", BODY[:-1], 400, "malformed_body"),
    ("POST", "/v1/encoder/embed_pixels", BODY, 400, "malformed_body"),
    ("POST", "/v1/encoder/embed_texts", iter([BODY]), 400, "malformed_body"),  # chunked, of a length nobody knows
    ("POST", "/v1/encoder/embed_texts", bytes(100_001), 413, "payload_too_large"),
    ("POST", "/v1/encoder/embed_pixels", wire.pack_pixels(picture(SIZE + 1), ORDER), 422, "validation_failed"),
]


@pytest.mark.parametrize(("method", "path", "content", "status", "code"), REFUSED)
async def test_what_does_not_keep_to_the_form_is_refused_and_survived(
    elsewhere: Elsewhere, url: str, method: str, path: str, content: Any, status: int, code: str
) -> None:
    content = stream(content) if isinstance(content, Iterator) else content
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.request(method, path, content=content, headers={"x-request-id": "mine"})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        members = answer.json()
        assert (members["status"], members["code"], members["request_id"]) == (status, code, "mine")
        assert elsewhere.model.batches == []
        assert (answer.headers.get("connection") == "close") is ("Content-Length" in members["detail"] or status == 413)
        good = await http.post("/v1/encoder/embed_texts", content=BODY)
    assert wire.unpack_rows(good.content, items=1).shape == (1, 18)


async def stream(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_bodies_are_bounded_all_together(elsewhere: Elsewhere, url: str) -> None:
    elsewhere.model.release.clear()
    large = wire.pack_pixels(np.zeros((20, SIZE, SIZE, 3), dtype=np.uint8), ORDER)
    assert 50_000 < len(large) < 100_000
    async with httpx.AsyncClient(base_url=url) as http:
        first = asyncio.create_task(http.post("/v1/encoder/embed_pixels", content=large))
        await asyncio.to_thread(elsewhere.model.started.wait, 5)
        second = await http.post("/v1/encoder/embed_pixels", content=large)
        assert (second.status_code, second.json()["code"]) == (429, "overloaded")
        elsewhere.model.release.set()
        assert (await first).status_code == 200
        assert (await http.post("/v1/encoder/embed_pixels", content=large)).status_code == 200


async def test_a_call_has_the_time_that_its_request_still_has(elsewhere: Elsewhere, url: str) -> None:
    elsewhere.model.release.clear()
    began = time.monotonic()
    async with calling(url, timeout=60) as call:
        with deadline.within(0.3), pytest.raises(DeadlineExceeded):
            await call("embed_texts", **ASKED)
        with deadline.within(-1), pytest.raises(DeadlineExceeded):
            await call("embed_texts", **ASKED)
        assert len(elsewhere.ports) == 1, "without time left nobody is called"
    assert time.monotonic() - began < 10
    async with calling(url, timeout=0.3) as call:
        with pytest.raises(DeadlineExceeded):
            await call("embed_texts", **ASKED)


async def test_work_is_given_up_there_when_its_time_is_over(elsewhere: Elsewhere, url: str) -> None:
    elsewhere.model.release.clear()
    hasty = wire.pack_texts(["green"], wire.Order(Lane.INTERACTIVE, "colour-model-1", 0.2))
    async with httpx.AsyncClient(base_url=url) as http:
        first = asyncio.create_task(http.post("/v1/encoder/embed_texts", content=BODY))
        await asyncio.to_thread(elsewhere.model.started.wait, 5)
        late = await http.post("/v1/encoder/embed_texts", content=hasty)
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        elsewhere.model.release.set()
        assert (await first).status_code == 200
    await elsewhere.encoder.close()
    assert elsewhere.model.texts_seen == ["red"], "what nobody waited for any more was not embedded"


async def test_work_is_given_up_there_when_the_caller_leaves(elsewhere: Elsewhere, url: str) -> None:
    elsewhere.model.release.clear()
    async with calling(url) as call:
        first = asyncio.create_task(call("embed_texts", **ASKED))
        await asyncio.to_thread(elsewhere.model.started.wait, 5)
        alone = elsewhere.app._held
        second = asyncio.create_task(call("embed_texts", **ASKED | {"texts": ["green"]}))
        await until(lambda: elsewhere.app._held > alone > 0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await until(lambda: elsewhere.app._held == alone)
        elsewhere.model.release.set()
        assert (await first).shape == (1, 18)
    await elsewhere.encoder.close()
    assert elsewhere.model.texts_seen == ["red"]


async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_a_request_has() -> None:
    elsewhere = Elsewhere()
    elsewhere.app = EncoderApp(max_bytes=100_000, timeout=0.3)
    elsewhere.app.encoder = elsewhere.encoder
    async with serving(elsewhere) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST /v1/encoder/embed_texts HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nCMV")
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 504 ")
        writer.close()
        await until(lambda: elsewhere.app._held == 0)
    await elsewhere.encoder.close()


@asynccontextmanager
async def answering(answer: Answer, method: str = "embed_texts") -> AsyncIterator[tuple[WebServer, HttpCall]]:
    async with (
        WebServer({f"{wire.PATH}/{method}": answer}, hosts=("127.0.0.1",)) as server,
        calling(f"http://127.0.0.1:{server.port}") as call,
    ):
        yield server, call


def failing(status: int, body: bytes = b"", content_type: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {status} No\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def silent(_: asyncio.StreamWriter) -> None:
    """Take the request and close the connection."""


async def cut_off(writer: asyncio.StreamWriter) -> None:
    writer.write(ok(ONE_ROW)[:-5])
    await writer.drain()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ok(ONE_ROW[:-1]), ModelUnavailable),
        (ok(b"<html>"), ModelUnavailable),
        (ok(wire.pack_rows(np.ones((2, 18), dtype=np.float32))), ModelUnavailable),
        (redirect("http://127.0.0.1:1/"), ModelUnavailable),
        (endless, ModelUnavailable),
        (failing(404), ModelUnavailable),
        (failing(503, b'{"code": "overloaded"}'), Overloaded),
        (failing(500, b'{"code": ["overloaded"]}'), ModelUnavailable),
        (failing(429, b"slow down"), Overloaded),
        (failing(504, b"<html>"), DeadlineExceeded),
        (failing(503, bytes(wire.MAX_INFO_BYTES + 1)), ModelUnavailable),
    ],
)
async def test_a_strange_other_end_is_one_of_our_errors_and_is_asked_once(
    answer: Answer, expected: type[CrossModalError]
) -> None:
    async with answering(answer) as (server, call):
        with pytest.raises(CrossModalError) as caught:
            await call("embed_texts", **ASKED)
        assert type(caught.value) is expected
        assert len(server.requests) == server.connections == 1, "what was answered is not asked again"


UNANSWERED = pytest.mark.parametrize(
    "answer",
    [silent, cut_off, b"SSH-2.0-x\r\n\r\n", failing(502, b"<html>bad gateway")],
    ids=["silent", "cut off", "no HTTP", "502"],
)


@UNANSWERED
async def test_what_is_not_answered_is_asked_twice_and_then_given_up(answer: Answer) -> None:
    async with answering(answer) as (server, call):
        with pytest.raises(ModelUnavailable):
            await call("embed_texts", **ASKED)
        assert len(server.requests) == server.connections == 2


@UNANSWERED
async def test_what_one_encoder_does_not_answer_another_does(answer: Answer) -> None:
    async def dying(writer: asyncio.StreamWriter) -> None:
        server.answers[f"{wire.PATH}/embed_texts"] = ok(ONE_ROW)
        if isinstance(answer, bytes):
            writer.write(answer)
        else:
            await answer(writer)

    async with answering(dying) as (server, call):
        np.testing.assert_array_equal(await call("embed_texts", **ASKED), np.ones((1, 18)))
        assert len(server.requests) == 2


async def test_the_second_attempt_has_no_more_time_than_the_request() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.6)
        writer.close()

    async with answering(late) as (server, _), calling(f"http://127.0.0.1:{server.port}", timeout=1) as call:
        with pytest.raises(DeadlineExceeded):
            await call("embed_texts", **ASKED)
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "members",
    [
        b"{}",
        b"[]",
        json.dumps({"preprocessing": {}, "calibration": {}}).encode(),
        json.dumps({"preprocessing": 3, "calibration": {}}).encode(),
        bytes(wire.MAX_INFO_BYTES + 1),
    ],
)
async def test_a_description_that_is_none_is_refused(members: bytes) -> None:
    async with answering(ok(members), "describe") as (_, call):
        with pytest.raises(ModelUnavailable):
            await call("describe")


async def test_who_does_not_listen_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "CONNECT_RETRIES", 0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with calling(f"http://127.0.0.1:{closed.getsockname()[1]}") as call:
            with pytest.raises(ModelUnavailable, match="cannot be reached"):
                await call("embed_texts", **ASKED)


async def test_a_refused_connection_is_tried_again(elsewhere: Elsewhere) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with calling(f"http://127.0.0.1:{port}") as call:
            asked = asyncio.create_task(call("embed_texts", **ASKED))
            await asyncio.sleep(0.1)
            assert not asked.done()
            closed.close()
            async with serving(elsewhere, port):
                assert (await asked).shape == (1, 18)
    assert elsewhere.model.batches == [1]


AUTHORITY = trustme.CA()
"""Vouches for 127.0.0.1; made anew for each run."""


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_verified(trusted: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    there, here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(there)
    if trusted:
        AUTHORITY.configure_trust(here)
    answers = {f"{wire.PATH}/embed_texts": ok(ONE_ROW)}
    async with (
        WebServer(answers, hosts=("127.0.0.1",), tls=there) as server,
        calling(f"https://127.0.0.1:{server.port}", tls=here if trusted else None) as call,
    ):
        if trusted:
            assert (await call("embed_texts", **ASKED)).tolist() == [[1.0] * 18]
        else:
            with pytest.raises(ModelUnavailable):
                await call("embed_texts", **ASKED)
            assert server.requests == []


async def test_connections_are_kept_whatever_is_answered(elsewhere: Elsewhere, url: str) -> None:
    async with calling(url) as call:
        await call("embed_texts", **ASKED)
        for fault in (Overloaded("too much"), ModelUnavailable("gone"), DeadlineExceeded("late")):
            elsewhere.encoder.fault = fault
            with pytest.raises(type(fault)):
                await call("embed_texts", **ASKED)
        elsewhere.encoder.fault = None
        await call("embed_texts", **ASKED)
    assert len(elsewhere.ports) == 5
    assert len(set(elsewhere.ports)) == 1


async def test_old_connections_are_left_between_calls_and_never_in_one(elsewhere: Elsewhere, url: str) -> None:
    async with calling(url, age=0.05) as call:
        for _ in range(3):
            await call("embed_texts", **ASKED)
            await asyncio.sleep(0.1)
        assert len(set(elsewhere.ports)) == 3, "a new replica gets its share"
        elsewhere.model.release.clear()
        elsewhere.model.started.clear()
        long = asyncio.create_task(call("embed_texts", **ASKED))
        await asyncio.to_thread(elsewhere.model.started.wait, 5)
        await asyncio.sleep(0.1)
        await call("describe")  # the pool looks for what is old at each call
        elsewhere.model.release.set()
        assert (await long).shape == (1, 18)


async def test_many_callers_at_a_time_lose_nothing_while_connections_end(elsewhere: Elsewhere, url: str) -> None:
    async def ask(number: int) -> None:
        for _ in range(20):
            answer = await call("embed_texts", **ASKED | {"texts": ["red"] * number})
            assert answer.shape == (number, 18)

    async with calling(url, age=0.01) as call:
        await asyncio.gather(*map(ask, range(1, 17)))
    assert len(elsewhere.ports) == 320
    assert 16 < len(set(elsewhere.ports)) <= 320
