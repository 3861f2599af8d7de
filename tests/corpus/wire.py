"""Requests as bytes, well-formed or not, and the exchange of one over a socket of its own."""

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message

BOUNDARY = "corpus-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"

Headers = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: ``status`` is None where the connection closed without an answer, ``hung`` where nothing came."""

    status: int | None
    headers: Message = field(default_factory=Message)
    body: bytes = b""
    seconds: float = 0.0
    hung: bool = False


def request(method: str, target: str, body: bytes = b"", *, headers: Headers = (), length: int | None = -1) -> bytes:
    """A request that asks to close; ``length`` is declared instead of the body's own, None declares none."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1")]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(b"Host: localhost")
    for name, value in headers:
        lines.append(name.encode("latin-1") + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")))
    if length is not None and (body or length >= 0):
        lines.append(b"Content-Length: %d" % (len(body) if length < 0 else length))
    return b"\r\n".join([*lines, b"Connection: close", b"", body])


def as_json(target: str, body: object, *, kind: str = JSON) -> bytes:
    """A POST of ``body``: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", target, content, headers=[("Content-Type", kind)])


def part(name: str, content: bytes | str, filename: str | None = None, *, kind: str | None = None) -> bytes:
    """One part of a form: a file if it has a name."""
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    lines = [disposition] + ([f"Content-Type: {kind}"] if kind else [])
    raw = content if isinstance(content, bytes) else content.encode()
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + raw + b"\r\n"


def form_body(parts: Iterable[bytes]) -> bytes:
    """Parts between boundaries."""
    delimiter = f"--{BOUNDARY}\r\n".encode()
    return b"".join(delimiter + each for each in parts) + f"--{BOUNDARY}--\r\n".encode()


def form(target: str, *parts: bytes, kind: str = FORM) -> bytes:
    """A POST of a multipart form."""
    return request("POST", target, form_body(parts), headers=[("Content-Type", kind)])


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def exchange(port: int, wire: bytes, *, half_close: bool = False, seconds: float = 60.0) -> Answer:
    """Send ``wire`` to a server on this machine and read one answer; ``half_close`` ends the sending side after it."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        # A server may answer and close before it has read everything: what it said is then read all the same.
        with suppress(ConnectionError):
            connection.sendall(wire)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        try:
            return _read(connection, wire, began)
        except TimeoutError:
            return Answer(None, seconds=time.monotonic() - began, hung=True)


def _read(connection: socket.socket, wire: bytes, began: float) -> Answer:
    response = http.client.HTTPResponse(connection, method=wire[:5].decode("latin-1").partition(" ")[0])
    try:
        response.begin()
        body = response.read()
    except (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead):
        return Answer(None, seconds=time.monotonic() - began)
    finally:
        response.close()
    return Answer(response.status, response.headers, body, time.monotonic() - began)
