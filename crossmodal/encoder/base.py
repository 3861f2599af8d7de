"""The port: everything the service asks of a model."""

from collections.abc import Sequence
from typing import Protocol

from crossmodal.batching import Lane
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.records import Embeddings, Pixels


class Encoder(Protocol):
    """Embeds texts and pixels for many callers at once.

    Every method raises ``ModelUnavailable`` while no model answers, and those that embed ``Overloaded`` when too much
    waits already.
    """

    async def info(self) -> ModelInfo:
        """What is loaded."""

    async def ping(self) -> None:
        """Return if the model answers now; quick, whatever it is busy with."""

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length; n = 0 is allowed."""

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        """Embed n texts; n = 0 is allowed."""

    async def close(self) -> None:
        """Finish what runs, refuse the rest."""
