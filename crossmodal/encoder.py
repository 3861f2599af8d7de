"""The port through which the service reaches a model, and the way that needs no other process."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from crossmodal.batching import Batcher, BatchObserver, Kind, Lane
from crossmodal.clip.base import ClipModel, ModelInfo, TextEmbeddings
from crossmodal.records import Embeddings, Pixels
from crossmodal.telemetry import record_stage

__all__ = ["BatchLimits", "Encoder", "Lane", "LocalEncoder"]


class Encoder(Protocol):
    """Embeds texts and pixels for many callers at once.

    Every method raises ``ModelUnavailable`` while no model answers and ``Overloaded`` when too much waits already.
    """

    async def info(self) -> ModelInfo:
        """What is loaded."""

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length; n = 0 is allowed."""

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        """Embed n texts; n = 0 is allowed."""

    async def close(self) -> None:
        """Finish what runs, refuse the rest."""


class BatchLimits:
    """How large batches and the queue may grow, in items; a bulk batch is half an interactive one."""

    def __init__(self, *, images: int = 16, texts: int = 32, queued: int = 16_384) -> None:
        self.images = images
        self.texts = texts
        self.queued = queued


class LocalEncoder:
    """A model in this process behind the adaptive batcher."""

    def __init__(self, model: ClipModel, limits: BatchLimits, observer: BatchObserver | None = None) -> None:
        self._model = model
        kinds = [
            Kind("image", self._run_images, limits.images, max(1, limits.images // 2)),
            # Characters stand for tokens: near enough to put texts of like length together.
            Kind("text", self._run_texts, limits.texts, max(1, limits.texts // 2), size=len),
        ]
        self._batcher = Batcher(kinds, max_queued=limits.queued, observer=observer)

    async def info(self) -> ModelInfo:
        """What is loaded."""
        return self._model.info

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length."""
        outcome = await self._batcher.submit("image", list(pixels), lane)
        record_stage("queue", outcome.queued)
        record_stage("embed", outcome.ran)
        return self._stack(outcome.values)

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        """Embed n texts."""
        outcome = await self._batcher.submit("text", texts, lane)
        record_stage("queue", outcome.queued)
        record_stage("embed", outcome.ran)
        rows, tokens, truncated = zip(*outcome.values, strict=True) if outcome.values else ((), (), ())
        return TextEmbeddings(
            self._stack(rows), np.asarray(tokens, dtype=np.int32), np.asarray(truncated, dtype=np.bool_)
        )

    async def close(self) -> None:
        """Finish what runs, refuse the rest."""
        await self._batcher.close()

    def _run_images(self, pixels: Sequence[Pixels]) -> Embeddings:
        return self._model.embed_pixels(np.stack(pixels))

    def _run_texts(self, texts: Sequence[str]) -> list[tuple[object, ...]]:
        return list(zip(*self._model.embed_texts(texts), strict=True))

    def _stack(self, rows: Sequence[Embeddings]) -> Embeddings:
        return np.stack(rows) if rows else np.empty((0, self._model.info.dim), dtype=np.float32)
