"""A model in another process: calls that end at once when that process is gone, hangs or is being replaced.

A process that was killed leaves its socket to its successor, which needs its time to load; one that was stopped takes
every call and answers none. In both, a caller would wait for the whole time a request has. So a monitor asks the other
side for a sign of life, and while there is none, calls fail at once and those under way are given up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import asdict, fields
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from crossmodal.batching import Lane
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.encoder.gathering import Gathering, Items
from crossmodal.errors import DeadlineExceeded, ModelUnavailable, Overloaded
from crossmodal.records import Embeddings, Pixels, Preprocessing
from crossmodal.statistics import unpack_statistics
from crossmodal.telemetry import stage

log = structlog.get_logger()

PING_EVERY = 1.0
"""Seconds between two signs of life."""
PING_TIMEOUT = 4.0
"""Seconds a sign of life may take; the other process answers it beside the model's work."""

_OTHER = "the model's process has another model than the one this service began with, whose vectors do not fit what is indexed"
_GONE = "the model's process does not answer; it is being started again: try again in a moment"


_KINDS = {"embed_pixels": "image", "embed_texts": "text"}
_ITEMS = {"embed_pixels": "pixels", "embed_texts": "texts"}


class Call(Protocol):
    """How the other process is called.

    Raises ``ModelUnavailable`` if it cannot be reached, ``Overloaded`` or ``DeadlineExceeded`` if it says so.
    """

    def __call__(self, method: str, /, **arguments: Any) -> Awaitable[Any]:
        """Call ``method`` there."""


class RemoteEncoder:
    """An ``Encoder`` that another process serves: methods `describe`, `embed_pixels` and `embed_texts`.

    It stands for the one model it met first. While the other process has another one, as after it was started anew with
    other settings, this is unavailable: nobody must get vectors of two models.
    """

    def __init__(
        self,
        call: Call,
        *,
        with_lane: bool = True,
        every: float = PING_EVERY,
        timeout: float = PING_TIMEOUT,
        closing: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``with_lane``: the other side takes a lane, and the fingerprint of the model that is meant; seconds otherwise.

        ``closing`` releases what ``call`` holds.
        """
        self._call = call
        self._closing = closing
        self._with_lane = with_lane
        self._every = every
        self._timeout = timeout
        self._gatherings: dict[tuple[str, Lane], Gathering] = {}
        self._info: ModelInfo | None = None
        self._monitor: asyncio.Task[None] | None = None
        self._why = _GONE
        self._alive = asyncio.Event()
        self._lost = asyncio.Event()
        self._lost.set()

    async def info(self) -> ModelInfo:
        """What the other process has loaded."""
        if self._info is None:
            self._info = await self._describe()
            self._note(alive=True)
        if self._monitor is None:
            # In a context of its own: it outlives the request that may have begun it, and that request's time.
            self._monitor = asyncio.create_task(self._watch(), context=Context())
        return self._info

    async def ping(self) -> None:
        """Return if the other process gave a sign of life lately. Raises ``ModelUnavailable``."""
        await self.info()
        if not self._alive.is_set():
            raise ModelUnavailable(self._why)

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Embed uint8 [n, size, size, 3]."""
        if not len(pixels):
            return np.empty((0, (await self.info()).dim), dtype=np.float32)
        return await self._embed("embed_pixels", lane, pixels)

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        """Embed texts."""
        if not texts:
            return unpack_texts(np.empty((0, (await self.info()).dim + 2), dtype=np.float32))
        return unpack_texts(await self._embed("embed_texts", lane, list(texts)))

    async def close(self) -> None:
        """Stop asking for signs of life, and release what calls need."""
        if self._monitor is not None:
            self._monitor.cancel()
            await asyncio.wait([self._monitor])
        if self._closing is not None:
            await self._closing()

    async def _embed(self, method: str, lane: Lane, items: Items) -> Embeddings:
        await self.ping()
        info = await self.info()
        of_what = {"kind": _KINDS[method], "lane": lane.value, "items": len(items), "model": info.name}
        with stage("embed", calls=True, **of_what):
            call = asyncio.ensure_future(self._gathering(method, lane, info).embed(items))
            call.add_done_callback(_seen)
            lost = asyncio.ensure_future(self._lost.wait())
            try:
                await asyncio.wait({call, lost}, return_when=asyncio.FIRST_COMPLETED)
                if not call.done():
                    raise ModelUnavailable(self._why)
                return await call
            finally:
                call.cancel()
                lost.cancel()

    def _gathering(self, method: str, lane: Lane, info: ModelInfo) -> Gathering:
        """Where calls of ``method`` in ``lane`` meet; no more of them go together than make up a batch."""
        if (method, lane) not in self._gatherings:
            arguments = {"lane": lane.value, "fingerprint": info.fingerprint} if self._with_lane else {}

            async def make(items: Items) -> Embeddings:
                rows: Embeddings = await self._call(method, **{_ITEMS[method]: items}, **arguments)
                if len(rows) != len(items):
                    raise ModelUnavailable(f"the model's process answered {len(items)} items with {len(rows)} rows")
                return rows

            most = info.batch_images if method == "embed_pixels" else info.batch_texts
            self._gatherings[method, lane] = Gathering(make, most=most)
        return self._gatherings[method, lane]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                info = await self._describe()
            except (ModelUnavailable, DeadlineExceeded):
                self._why = _GONE
                self._note(alive=False)
            except Overloaded:
                continue  # it is there, and does not say with which model
            else:
                self._recognise(info)

    async def _describe(self) -> ModelInfo:
        try:
            async with asyncio.timeout(self._timeout):
                return unpack_info(await self._call("describe"))
        except TimeoutError as error:
            raise ModelUnavailable(_GONE) from error

    def _recognise(self, info: ModelInfo) -> None:
        same = self._info is not None and info.fingerprint == self._info.fingerprint
        if not same and self._why is not _OTHER:
            log.error("another model", detail=_OTHER, model=info.name, fingerprint=info.fingerprint)
        self._why = _GONE if same else _OTHER
        self._note(alive=same)

    def _note(self, *, alive: bool) -> None:
        now, before = (self._alive, self._lost) if alive else (self._lost, self._alive)
        before.clear()
        now.set()


def _seen(call: "asyncio.Future[Any]") -> None:
    """Nobody may ask a call that was given up what came of it; asyncio would complain."""
    if not call.cancelled():
        call.exception()


def pack_info(info: ModelInfo) -> dict[str, Any]:
    """``info`` as a JSON object, for the wire."""
    return asdict(info)


def unpack_info(members: dict[str, Any]) -> ModelInfo:
    """The reverse of ``pack_info``; members that a newer model process may send are left out."""
    told = members["preprocessing"]
    preprocessing = Preprocessing(**told | {"mean": tuple(told["mean"]), "std": tuple(told["std"])})  # JSON has lists
    calibration = unpack_statistics(members["calibration"], where="the model's process")
    known = {field.name: members[field.name] for field in fields(ModelInfo) if field.name in members}
    return ModelInfo(**known | {"preprocessing": preprocessing, "calibration": calibration})


def pack_texts(answer: TextEmbeddings) -> NDArray[np.float32]:
    """One array for the wire, float32 [n, dim + 2]: the embeddings, then the tokens, then whether truncated."""
    return np.column_stack([answer.embeddings, answer.tokens, answer.truncated]).astype(np.float32)


def unpack_texts(packed: NDArray[np.float32]) -> TextEmbeddings:
    """The reverse of ``pack_texts``."""
    return TextEmbeddings(
        np.ascontiguousarray(packed[:, :-2]), packed[:, -2].astype(np.int32), packed[:, -1].astype(np.bool_)
    )
