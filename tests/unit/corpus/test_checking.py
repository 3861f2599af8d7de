"""The checker of the corpus finds each kind of wrong answer: planted faults, one per rule."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from threading import Thread

import pytest

from tests.corpus.cases import GOOD, Case
from tests.corpus.checking import PROBLEM, faults
from tests.corpus.wire import Answer, exchange, request

CASE = Case("planted", "class", "POST /x", lambda: request("GET", "/x"), 422, "validation_failed", patience=0.5)
BODY = {
    "type": "urn:crossmodal:problem:validation_failed",
    "title": "The request is not valid",
    "status": 422,
    "detail": "n_results: too many",
    "code": "validation_failed",
    "request_id": "id-1",
}


def answer(status: int = 422, body: object = BODY, kind: str = PROBLEM, **headers: str) -> Answer:
    message = Message()
    given = {"Content_Type": kind, "X_Request_ID": "id-1"} | headers
    for name, value in given.items():
        message[name.replace("_", "-")] = value
    return Answer(status, message, body if isinstance(body, bytes) else json.dumps(body).encode(), 0.1)


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in BODY.items() if key != name}


def test_a_right_answer_has_no_faults() -> None:
    assert faults(CASE, answer()) == []


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (answer(400, BODY | {"status": 400}), "status 400, not 422"),
        (answer(200, {"results": []}, "application/json"), "a success where the code validation_failed is due"),
        (answer(body=b"<html>", kind="text/html"), "content type 'text/html', not 'application/problem+json'"),
        (answer(body=b"<html>"), "the body is not JSON"),
        (answer(body=[]), "the body is not an object"),
        *((answer(body=without(name)), f"the member {name!r} is missing or empty") for name in BODY),
        (answer(body=BODY | {"code": "invalid"}), "code 'invalid', not 'validation_failed'"),
        (answer(body=BODY | {"status": 400}), "the member 'status' is 400, the status 422"),
        (answer(body=BODY | {"request_id": "other"}), "the member 'request_id' is not the X-Request-ID header"),
        (answer(X_Request_ID=""), "no X-Request-ID header"),
        (answer(503, BODY | {"status": 503}), "no Retry-After header in whole seconds"),
        (answer(405, BODY | {"status": 405}), "no Allow header"),
        (answer(429, BODY | {"status": 429}, Retry_After="soon"), "no Retry-After header in whole seconds"),
        (answer(body=BODY | {"detail": "Traceback (most recent call last)"}), "tells of the inside: 'Traceback'"),
        (answer(body=BODY | {"detail": "no /srv/data/x"}), "tells of the inside: '/srv/d'"),
        (answer(body=BODY | {"detail": "KeyError: 'x'"}), "tells of the inside: 'KeyError'"),
        (answer(body=BODY | {"detail": "in crossmodal.api.bodies"}), "tells of the inside: 'crossmodal.api'"),
        (answer(body=BODY | {"detail": "<X at 0x7f00deadbeef>"}), "tells of the inside: '0x7f00deadbeef'"),
        (answer(Server="uvicorn"), "tells of the inside: 'uvicorn'"),
        (Answer(None), "status None, not 422"),
        (Answer(None, hung=True), "no answer within 0.5 s"),
        (Answer(422, answer().headers, answer().body, seconds=9.0), "answered after 9.0 s; 0.5 s are allowed"),
    ],
)
def test_each_wrong_answer_is_found(wrong: Answer, fault: str) -> None:
    assert fault in faults(CASE, wrong)


def test_an_answer_to_what_nobody_waits_for_is_found() -> None:
    gone = Case("gone", "class", "POST /x", lambda: b"", None, GOOD)
    assert faults(gone, Answer(None)) == []
    assert faults(gone, answer()) == ["status 422, not None"]


def test_an_answer_to_head_has_no_body() -> None:
    head = Case("head", "class", "HEAD /x", lambda: b"", 422, "validation_failed")
    assert faults(head, answer(body=b"")) == []
    assert faults(head, answer()) == ["a body in answer to HEAD"]


@contextmanager
def listener(said: bytes | None) -> Iterator[int]:
    """A server for one connection that says ``said`` and closes, or says nothing and keeps it open; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                if said is None:
                    connection.recv(1)  # until the client gives up
                else:
                    connection.sendall(said)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(10)


def test_a_server_that_hangs_is_found() -> None:
    with listener(None) as port:
        assert faults(CASE, exchange(port, CASE.wire(), seconds=CASE.patience)) == ["no answer within 0.5 s"]


def test_a_server_that_closes_without_a_word_is_found() -> None:
    with listener(b"") as port:
        assert faults(CASE, exchange(port, CASE.wire(), seconds=5)) == ["status None, not 422"]


def test_an_answer_is_read_as_it_was_sent() -> None:
    body = json.dumps(BODY).encode()
    head = (
        b"HTTP/1.1 422 No\r\nContent-Type: application/problem+json\r\nX-Request-ID: id-1\r\nContent-Length: %d\r\n\r\n"
    )
    with listener(head % len(body) + body) as port:
        heard = exchange(port, CASE.wire(), seconds=5)
    assert (heard.status, heard.body) == (422, body)
    assert faults(CASE, heard) == []
