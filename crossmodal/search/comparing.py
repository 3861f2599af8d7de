"""Embed texts and pictures for callers, and compare them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from crossmodal.encoder import Encoder, Lane
from crossmodal.errors import ClientError
from crossmodal.metering import charge
from crossmodal.records import Embeddings, LongText, Modality
from crossmodal.search.intake import together
from crossmodal.search.pictures import PictureReader
from crossmodal.search.reading import ReadTexts, TextReader
from crossmodal.search.relevance import Calibrations


class Comparing:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self, encoder: Encoder, calibrations: Calibrations, pictures: PictureReader, texts: TextReader
    ) -> None:
        self._encoder = encoder
        self._calibrations = calibrations
        self._pictures = pictures
        self._texts = texts

    async def embed_texts(
        self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE, long_text: LongText = "truncate"
    ) -> ReadTexts:
        """Unit embeddings of n texts. The first bad one is raised, its place counted from 0 in ``loc``."""
        charge(items=len(texts))
        for place, text in enumerate(texts):
            try:
                self._texts.check(text)
            except ClientError as fault:
                raise fault.under(place) from None
        return await self._texts.embed(texts, long_text, lane)

    async def embed_pictures(self, contents: Sequence[bytes], lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Unit embeddings, float32 [n, dim], of n encoded pictures. The first bad one is raised, its place in ``loc``."""
        charge(items=len(contents))
        preprocessing = (await self._encoder.info()).preprocessing
        reads = [self._pictures.read(content, preprocessing, lane=lane) for content in contents]
        pixels: list[NDArray[np.uint8]] = []
        for place, outcome in enumerate(await asyncio.gather(*reads, return_exceptions=True)):
            if isinstance(outcome, ClientError):
                raise outcome.under(place)
            if isinstance(outcome, BaseException):
                raise outcome
            pixels.append(outcome.pixels)
        return await self._encoder.embed_pixels(np.stack(pixels), lane)

    async def embed_mixed(
        self, contents: Sequence[str | bytes], lane: Lane = Lane.INTERACTIVE, long_text: LongText = "truncate"
    ) -> tuple[Embeddings, int]:
        """Unit embeddings, float32 [n, dim], of n texts and encoded pictures, and the tokens read of the texts together.

        The first bad one of either kind is raised, its place among all in ``loc``.
        """
        texts = {place: each for place, each in enumerate(contents) if isinstance(each, str)}
        pictures = {place: each for place, each in enumerate(contents) if not isinstance(each, str)}
        embeddings: Embeddings = np.empty((len(contents), (await self._encoder.info()).dim), dtype=np.float32)
        tokens = 0

        async def read_texts() -> None:
            nonlocal tokens
            with _among(list(texts)):
                read = await self.embed_texts(list(texts.values()), lane, long_text)
            embeddings[list(texts)] = read.embeddings
            tokens = int(read.tokens_used.sum())

        async def read_pictures() -> None:
            with _among(list(pictures)):
                embeddings[list(pictures)] = await self.embed_pictures(list(pictures.values()), lane)

        await together(work() for work, some in ((read_texts, texts), (read_pictures, pictures)) if some)
        return embeddings, tokens

    async def relevance(self, score: float) -> float:
        """What the cosine of a text and a picture means, 0 to 1."""
        calibration = await self._calibrations.now()
        return calibration.relevance(Modality.TEXT, Modality.IMAGE, score)


@contextmanager
def _among(places: Sequence[int]) -> Iterator[None]:
    """Errors of a part of the request name the place in all of it."""
    try:
        yield
    except ClientError as error:
        if error.loc and isinstance(first := error.loc[0], int):
            error.loc = (places[first], *error.loc[1:])
        raise


def similarity(texts: Embeddings, pictures: Embeddings) -> Embeddings:
    """Cosines, float32 [texts, pictures], each -1 to 1, of unit embeddings [texts, dim] and [pictures, dim]."""
    cosines: Embeddings = np.clip(texts @ pictures.T, -1.0, 1.0)
    return cosines
