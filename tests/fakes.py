"""Named fakes: stand-ins for the model, name servers and the web, and a store with a planted fault."""

import asyncio
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import numpy as np

from crossmodal.batching import Lane
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.errors import ValidationFailed
from crossmodal.fetching import Spend
from crossmodal.fetching.addresses import Address
from crossmodal.records import (
    Embedding,
    Embeddings,
    PairStatistics,
    Partition,
    Pixels,
    Point,
    Preprocessing,
    ScoredItem,
)
from crossmodal.statistics import PAIRS
from crossmodal.store.exact import ExactStore
from crossmodal.store.filters import Filter

COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "black": (0, 0, 0)}
CONTEXT = 12
DIM = 16
SIZE = 32
CURVE = PairStatistics(midpoint=0.9, slope=40.0, mean=0.5, std=0.2)


def info(fingerprint: str = "colour-model-1") -> ModelInfo:
    return ModelInfo(
        name="colours",
        dim=DIM,
        context_length=CONTEXT,
        preprocessing=Preprocessing(
            size=SIZE, interpolation="bicubic", resize_mode="shortest", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
        ),
        fingerprint=fingerprint,
        device="cpu",
        precision="fp32",
        logit_scale=100.0,
        logit_bias=None,
        calibration=dict.fromkeys(PAIRS, CURVE),
    )


class ColourModel:
    """A model that understands colours: a picture is its mean colour, a text the colours it names.

    Other words turn a text's embedding a little, each its own way, so that different texts differ.
    """

    def __init__(self, fingerprint: str = "colour-model-1") -> None:
        self.info = info(fingerprint)
        self.batches: list[int] = []
        self.texts_seen: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self.started = threading.Event()
        self.broken = False

    def embed_pixels(self, pixels: Pixels) -> Embeddings:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (SIZE, SIZE, 3)
        self._run(len(pixels))
        return np.stack([_unit(_colour(tuple(each.reshape(-1, 3).mean(axis=0)))) for each in pixels])

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        self._run(len(texts))
        self.texts_seen.extend(texts)
        words = [text.lower().split() for text in texts]
        embeddings = np.stack([_unit(_meaning(each[:CONTEXT])) for each in words])
        tokens = np.array([min(len(each), CONTEXT) for each in words], dtype=np.int32)
        return TextEmbeddings(embeddings, tokens, np.array([len(each) > CONTEXT for each in words]))

    def _run(self, items: int) -> None:
        assert items > 0
        self.batches.append(items)
        self.started.set()
        assert self.release.wait(10), "the test never released the model"
        if self.broken:
            raise RuntimeError("secret path /srv/model: the model is broken")


class SlowModel(ColourModel):
    """Takes 2 ms for each picture, so that a queue of some soon counts as too long."""

    def embed_pixels(self, pixels: Pixels) -> Embeddings:
        time.sleep(0.002 * len(pixels))
        return super().embed_pixels(pixels)


class FaultyEncoder(LocalEncoder):
    """An encoder of colours whose every call fails with ``fault``, if there is one; ``lanes`` are those that were asked for."""

    def __init__(self, model: ColourModel | None = None) -> None:
        super().__init__(model or ColourModel(), BatchLimits())
        self.fault: Exception | None = None
        self.lanes: list[Lane] = []

    async def ping(self) -> None:
        self._fail()
        await super().ping()

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        self.lanes.append(lane)
        self._fail()
        return await super().embed_pixels(pixels, lane)

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        self.lanes.append(lane)
        self._fail()
        return await super().embed_texts(texts, lane)

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault


def _colour(rgb: Sequence[float]) -> Embeddings:
    vector = np.zeros(DIM, dtype=np.float32)
    vector[:3] = np.asarray(rgb, dtype=np.float32) / 255.0
    vector[3] = 0.1
    return vector


def _meaning(words: Sequence[str]) -> Embeddings:
    vector = np.zeros(DIM, dtype=np.float32)
    vector[3] = 0.1
    for word in words:
        if word in COLOURS:
            vector += _colour(COLOURS[word])
        else:
            vector[4 + sha256(word.encode()).digest()[0] % (DIM - 4)] += 0.05
    return vector


def _unit(vector: Embeddings) -> Embeddings:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class FakeResolver:
    """A name server whose answers are given: for each name a list of answers, one per question, the last one for ever.

    ``asked`` lists the questions.
    """

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(each) for name, each in answers.items()}
        self.asked: list[str] = []
        self.closed = False

    async def resolve(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        left = self._answers.get(host, [[]])
        answer = left.pop(0) if len(left) > 1 else left[0]
        return [ip_address(each) for each in answer]

    def close(self) -> None:
        self.closed = True


class FakeFetcher:
    """A web of given pages; a URL that is not among them cannot be fetched.

    ``release`` lets fetches come to an end; ``entered`` can be acquired once for each that began.
    """

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self.pages = dict(pages)
        self.asked: list[str] = []
        self.running = 0
        self.most_running = 0
        self.release = asyncio.Event()
        self.release.set()
        self.entered = asyncio.Semaphore(0)
        self.closed = False

    async def fetch(self, url: str, spend: Spend) -> bytes:
        self.asked.append(url)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.entered.release()
        try:
            await self.release.wait()
        finally:
            self.running -= 1
        if url not in self.pages:
            raise ValidationFailed("cannot be fetched")
        spend(len(self.pages[url]))
        return self.pages[url]

    def close(self) -> None:
        self.closed = True


class HastyStore(ExactStore):
    """A store with an index that misses things: unless it is asked to be exact, it overlooks the ids in ``missed``."""

    name = "hasty"

    def __init__(self) -> None:
        super().__init__()
        self.missed: set[str] = set()

    async def search(
        self,
        partition: Partition,
        query: Embedding,
        *,
        limit: int,
        offset: int = 0,
        where: Filter | None = None,
        without_contents: Collection[str] = (),
        with_embeddings: bool = False,
        exact: bool = False,
    ) -> list[ScoredItem]:
        found = await super().search(
            partition,
            query,
            limit=limit + offset + len(self.missed),
            where=where,
            without_contents=without_contents,
            with_embeddings=with_embeddings,
            exact=exact,
        )
        seen = found if exact else [hit for hit in found if hit.item.id not in self.missed]
        return seen[offset : offset + limit]


class ForgetfulStore(ExactStore):
    """A store with one fault: it drops the tenant, so every use is of what all tenants hold."""

    async def upsert(self, partition: Partition, points: Sequence[Point]) -> None:
        await super().upsert(self._everybody(partition), points)

    def _open(self, partition: Partition) -> Any:
        return super()._open(self._everybody(partition))

    @staticmethod
    def _everybody(partition: Partition) -> Partition:
        return Partition("everybody", partition.modality)
