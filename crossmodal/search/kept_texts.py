"""Texts that questions are asked with again and again: embedded once, and kept."""

import asyncio
from collections.abc import Sequence

import numpy as np

from crossmodal.encoder import Encoder, Lane
from crossmodal.records import Embeddings

_CHUNK = 32
"""Texts that are asked for together: some hundreds at once could fill the queue for the model."""


class KeptTexts:
    """The embeddings of ``texts`` by the model that is loaded, made when they are first asked for, as bulk work.

    Who asks first waits for them, and everybody who asks meanwhile waits for the same; they are made to the end even if
    nobody waits any more.
    """

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self._encoder = encoder
        self._fingerprint = ""
        self._making: asyncio.Task[Embeddings] | None = None

    async def embeddings(self) -> Embeddings:
        """Unit embeddings, float32 [n, dim], in the order of ``texts``; not to be changed.

        Raises ``Overloaded`` or ``ModelUnavailable``; the next call tries again.
        """
        fingerprint = (await self._encoder.info()).fingerprint
        making = self._making
        if making is None or fingerprint != self._fingerprint or _failed(making):
            making = asyncio.create_task(self._embed())
            making.add_done_callback(_failed)  # an exception that nobody waits for is no fault of the loop's
            self._fingerprint, self._making = fingerprint, making
        return await asyncio.shield(making)

    async def _embed(self) -> Embeddings:
        chunks = [self.texts[start : start + _CHUNK] for start in range(0, len(self.texts), _CHUNK)]
        rows = [(await self._encoder.embed_texts(chunk, Lane.BULK)).embeddings for chunk in chunks]
        embeddings = np.concatenate(rows)
        embeddings.flags.writeable = False
        return embeddings


def _failed(making: asyncio.Task[Embeddings]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)
