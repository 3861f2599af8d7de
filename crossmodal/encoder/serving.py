"""The other end of ``crossmodal.encoder.over_http``: an ASGI app that lets APIs elsewhere use the encoder of this process.

It trusts its callers with the model's time, as there are no keys between the two, and with nothing else: bodies are bounded,
each alone and all together, and what does not keep to the form is refused.
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from starlette.types import Message, Receive, Scope, Send

from crossmodal import telemetry
from crossmodal.batching import Lane
from crossmodal.clip.base import ModelInfo
from crossmodal.encoder import wire
from crossmodal.encoder.base import Encoder
from crossmodal.encoder.remote import pack_info, pack_texts
from crossmodal.errors import (
    ClientGone,
    CrossModalError,
    DeadlineExceeded,
    MalformedBody,
    MethodNotAllowed,
    ModelUnavailable,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    Shed,
    ValidationFailed,
)

log = structlog.get_logger()

_JSON, _PROBLEM = "application/json", "application/problem+json"
_METHODS = {"describe": "GET", "embed_pixels": "POST", "embed_texts": "POST"}
_MAX_ID = 128
_MAX_DIGITS = 18

Answer = tuple[str, bytes]
"""Content type and body."""


class EncoderApp:
    """Serves ``encoder``, once there is one, at ``wire.PATH``; the last part of a path is the method."""

    def __init__(self, *, max_bytes: int, timeout: float) -> None:
        """``max_bytes`` of one body, and of all bodies held at a time; ``timeout`` seconds for a request in all."""
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._held = 0
        self.encoder: Encoder | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        token = telemetry.request_id.set(_request_id(headers))
        body = _Body(self, receive)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._answer(scope, headers, body)
            await _send(send, HTTPStatus.OK, answer)
        except TimeoutError:
            await _refuse(send, DeadlineExceeded("there was no answer within the time that the request has"))
        except CrossModalError as error:
            await _refuse(send, error, closing=body.refused)
        except Exception:
            log.exception("request failed unexpectedly", path=scope["path"])
            await _refuse(send, CrossModalError("something went wrong here; the log has it"))
        finally:
            self._held -= len(body.content)
            telemetry.request_id.reset(token)

    def hold(self, count: int) -> None:
        """Note ``count`` more bytes of bodies held. Raises ``Overloaded``."""
        if self._held + count > self._max_bytes:
            raise Overloaded(
                f"bodies of {self._held} bytes are being worked on; {self._max_bytes} is the limit", shed=Shed.BYTES
            )
        self._held += count

    @property
    def max_bytes(self) -> int:
        """Of one body."""
        return self._max_bytes

    async def _answer(self, scope: Scope, headers: Mapping[bytes, bytes], body: "_Body") -> Answer:
        method = scope["path"].rpartition("/")[2]
        if scope["path"] != f"{wire.PATH}/{method}" or method not in _METHODS:
            raise NotFound("there is no such method")
        if scope["method"] != _METHODS[method]:
            raise MethodNotAllowed(f"{method} takes {_METHODS[method]}")
        if self.encoder is None:
            raise ModelUnavailable("no model is served in this way here")
        if method == "describe":
            await self.encoder.ping()
            return _JSON, json.dumps(pack_info(await self.encoder.info())).encode()
        await body.read(headers.get(b"content-length", b""))
        try:
            return await self._embed(method, self.encoder, body)
        except wire.BadMessage as error:
            raise MalformedBody(str(error)) from error

    async def _embed(self, method: str, encoder: Encoder, body: "_Body") -> Answer:
        info = await encoder.info()
        if method == "embed_pixels":
            order, pixels = wire.unpack_pixels(body.content)
            _check_model(order, info)
            check_pixels(pixels, info)
            work: Coroutine[Any, Any, Any] = encoder.embed_pixels(pixels, order.lane)
        else:
            order, texts = wire.unpack_texts(body.content)
            _check_model(order, info)
            work = _embed_texts(encoder, texts, order.lane)
        async with asyncio.timeout(order.seconds):
            return wire.MEDIA_TYPE, wire.pack_rows(await body.while_wanted(work))


def check_pixels(pixels: NDArray[Any], info: ModelInfo) -> None:
    """Raises ``ValidationFailed`` for what the model cannot take: it would fail others' pictures in its batch."""
    side = info.preprocessing.size
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, 3):
        raise ValidationFailed(
            f"pixels are {pixels.dtype} of the shape {pixels.shape}; the model takes uint8 [n, {side}, {side}, 3]"
        )


def lane_of(name: str) -> Lane:
    """The lane of that name. Raises ``ValidationFailed``."""
    try:
        return Lane(name)
    except ValueError as error:
        raise ValidationFailed(f"there is no such lane; lanes are {', '.join(Lane)}") from error


class _Body:
    """What a caller sends, and whether it still waits for the answer."""

    def __init__(self, app: EncoderApp, receive: Receive) -> None:
        self._app = app
        self._receive = receive
        self.content = bytearray()
        self.refused = False
        """Whether nobody knows how much is still to come, or it is too much to wait for."""

    async def read(self, declared: bytes) -> None:
        """Read it into ``content``. Raises ``MalformedBody``, ``PayloadTooLarge``, ``Overloaded``, ``ClientGone``."""
        if not declared.isdigit() or len(declared) > _MAX_DIGITS:
            self.refused = True
            raise MalformedBody("the request needs a Content-Length")
        if int(declared) > self._app.max_bytes:
            self.refused = True
            raise PayloadTooLarge(f"the body holds {int(declared)} bytes; at most {self._app.max_bytes} are allowed")
        more = True
        while more:
            message = await self._receive_message()
            piece = message.get("body", b"")
            self._app.hold(len(piece))
            self.content += piece
            more = message.get("more_body", False)

    async def while_wanted(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What ``work`` gives; it is given up, and ``ClientGone`` raised, when the caller leaves."""
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(self._left())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else await gone
        finally:
            for each in (task, gone):
                each.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _left(self) -> None:
        while True:
            await self._receive_message()

    async def _receive_message(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client closed the connection")
        return message


def _check_model(order: wire.Order, info: ModelInfo) -> None:
    if order.fingerprint != info.fingerprint:
        raise ModelUnavailable("another model is meant than the one that is loaded here")


async def _embed_texts(encoder: Encoder, texts: list[str], lane: Lane) -> Any:
    return pack_texts(await encoder.embed_texts(texts, lane))


async def _refuse(send: Send, error: CrossModalError, *, closing: bool = False) -> None:
    telemetry.count_problem(error)
    members = {"type": "about:blank", "title": error.title, "status": error.status, "code": error.code}
    body = json.dumps(members | {"detail": error.detail, "request_id": telemetry.request_id.get()}).encode()
    await _send(send, error.status, (_PROBLEM, body), closing=closing)


async def _send(send: Send, status: int, answer: Answer, *, closing: bool = False) -> None:
    content_type, body = answer
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", telemetry.request_id.get().encode("latin-1")),
    ]
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")[:_MAX_ID].decode("latin-1")
    return given if given.isascii() and given.isprintable() and given else "-"
