"""A model in this process behind the adaptive batcher."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossmodal import tracing
from crossmodal.batching import Batcher, BatchObserver, Kind, Lane
from crossmodal.clip.base import ClipModel, ModelInfo, TextEmbeddings
from crossmodal.errors import ModelUnavailable
from crossmodal.records import Embeddings, Pixels
from crossmodal.telemetry import in_model, record_stage, record_wait


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large batches may grow and how much may wait for them.

    ``images`` and ``texts`` are items in an interactive batch, what the model says suits its device unless given; a bulk
    batch is half of one. ``queued`` are items that may wait, ``wait`` the seconds an item may be expected to wait; a
    batch that runs for ``stall`` seconds means that the model hangs.
    """

    images: int | None = None
    texts: int | None = None
    queued: int = 16_384
    wait: float = 60.0
    stall: float = 60.0


class LocalEncoder:
    """An ``Encoder`` whose model is in this process."""

    def __init__(self, model: ClipModel, limits: BatchLimits, observer: BatchObserver | None = None) -> None:
        self._model = model
        self._stall = limits.stall
        self._lost = False
        images, texts = limits.images or model.info.batch_images, limits.texts or model.info.batch_texts
        kinds = [
            Kind("image", self._run_images, images, max(1, images // 2)),
            Kind("text", self._run_texts, texts, max(1, texts // 2), size=self._positions),
        ]
        self._batcher = Batcher(
            kinds,
            max_queued=limits.queued,
            max_wait=limits.wait,
            in_flight=model.info.calls,
            side_by_side=model.info.side_by_side,
            observer=observer,
        )

    @property
    def busy_seconds(self) -> float:
        """How long the oldest batch that runs now has been running; 0 if none runs."""
        return self._batcher.busy_seconds

    @property
    def lost(self) -> bool:
        """Whether the model will answer no more in this process."""
        return self._lost

    async def info(self) -> ModelInfo:
        """What is loaded."""
        return self._model.info

    async def ping(self) -> None:
        """Return unless the model hangs or is lost. Raises ``ModelUnavailable``."""
        if self._lost:
            raise ModelUnavailable("the device that runs the model failed; the model is loaded anew")
        if self.busy_seconds > self._stall:
            raise ModelUnavailable(f"the model has not finished a batch for {self.busy_seconds:.0f} seconds")

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length."""
        return self._stack(await self._submit("image", list(pixels), lane))

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        """Embed n texts."""
        values = await self._submit("text", texts, lane)
        rows, tokens, truncated = zip(*values, strict=True) if values else ((), (), ())
        return TextEmbeddings(
            self._stack(rows), np.asarray(tokens, dtype=np.int32), np.asarray(truncated, dtype=np.bool_)
        )

    async def close(self) -> None:
        """Finish what runs, refuse the rest."""
        await self._batcher.close()

    async def _submit(self, kind: str, items: Sequence[Any], lane: Lane) -> list[Any]:
        """What the model made of ``items``, with the stages and spans that took."""
        began = time.perf_counter()
        with in_model(len(items)):
            outcome = await self._batcher.submit(kind, items, lane)
        record_stage("queue", outcome.queued)
        record_stage("embed", outcome.ran)
        record_wait(kind, lane, outcome.queued)
        of_what = {"kind": kind, "lane": lane.value, "items": len(items)}
        tracing.past("queue", ago=time.perf_counter() - began, seconds=outcome.queued, **of_what)
        tracing.past("embed", ago=outcome.ran, seconds=outcome.ran, model=self._model.info.name, **of_what)
        return outcome.values

    def _positions(self, text: str) -> int:
        """Tokens of ``text`` that the model sees, start and end included, about: four characters make one of English.

        Near enough to put texts of like length together and to see what a batch costs.
        """
        return min(2 + math.ceil(len(text) / 4), self._model.info.context_length)

    def _run_images(self, pixels: Sequence[Pixels]) -> Embeddings:
        with self._noticing():
            return self._model.embed_pixels(np.stack(pixels))

    def _run_texts(self, texts: Sequence[str]) -> list[tuple[object, ...]]:
        with self._noticing():
            return list(zip(*self._model.embed_texts(texts), strict=True))

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except ModelUnavailable:
            self._lost = True
            raise

    def _stack(self, rows: Sequence[Embeddings]) -> Embeddings:
        return np.stack(rows) if rows else np.empty((0, self._model.info.dim), dtype=np.float32)
