"""Find items by an embedding, a text, a picture or another item."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossmodal.encoder import Encoder
from crossmodal.errors import NotFound
from crossmodal.metering import charge
from crossmodal.records import Embedding, Hit, Modality, Partition, Point, ScoredItem
from crossmodal.search.diversity import diversify
from crossmodal.search.pictures import PictureReader
from crossmodal.search.relevance import Calibration
from crossmodal.search.texts import check_text
from crossmodal.store.base import VectorStore
from crossmodal.store.filters import Filter
from crossmodal.telemetry import stage

DIVERSE_POOL = 500
"""Diverse answers are ordered among this many of the best, whatever the page, so that pages are slices of one order.
What lies beyond follows by score."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which of the hits are wanted.

    ``n_results`` 1 to 1000 from ``offset`` on; only items that ``where`` admits; only hits of at least
    ``min_relevance`` (0 to 1); with ``diversity`` (0 to 1) above 0 unlike hits are preferred.
    """

    n_results: int = 5
    offset: int = 0
    where: Filter | None = None
    min_relevance: float = 0.0
    diversity: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, best first, and whether the model saw only the beginning of the query."""

    hits: list[Hit]
    truncated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    modality: Modality
    embedding: Embedding
    without_content: str | None = None
    truncated: bool = False


class Querying:
    """The use case. One instance serves all requests of a process; each finds items of the tenant it names alone.

    Its methods raise ``Overloaded``, ``ModelUnavailable``, ``StoreUnavailable`` and the client errors that reading a
    text or a picture raises.
    """

    def __init__(self, encoder: Encoder, store: VectorStore, pictures: PictureReader, *, max_text_chars: int) -> None:
        self._encoder = encoder
        self._store = store
        self._pictures = pictures
        self._max_text_chars = max_text_chars

    async def by_text(self, tenant: str, text: str, target: Modality, window: Window) -> Answer:
        """Items nearest to a text."""
        charge(items=1)
        checked = check_text(text, max_chars=self._max_text_chars)
        answer = await self._encoder.embed_texts([checked])
        query = _Query(Modality.TEXT, answer.embeddings[0], truncated=bool(answer.truncated[0]))
        return await self._find(tenant, query, target, window)

    async def by_picture(self, tenant: str, content: bytes, target: Modality, window: Window) -> Answer:
        """Items nearest to an encoded picture; an item with the same bytes is never among them."""
        charge(items=1)
        info = await self._encoder.info()
        picture = await self._pictures.read(content, info.preprocessing)
        embeddings = await self._encoder.embed_pixels(picture.pixels[None])
        return await self._find(tenant, _Query(Modality.IMAGE, embeddings[0], picture.content_hash), target, window)

    async def by_embedding(
        self, tenant: str, modality: Modality, embedding: Embedding, target: Modality, window: Window
    ) -> Answer:
        """Items nearest to a unit embedding of something of ``modality``; nothing is left out."""
        return await self._find(tenant, _Query(modality, embedding), target, window)

    async def by_item(self, tenant: str, modality: Modality, item_id: str, target: Modality, window: Window) -> Answer:
        """Items nearest to an indexed one; neither it nor another with its content is among them.

        Raises ``NotFound`` if there is no such item.
        """
        with stage("store"):
            (point,) = await self._store.fetch(Partition(tenant, modality), [item_id], with_embeddings=True)
        if point is None:
            raise NotFound(f"there is no {modality} with the id {item_id!r}")
        return await self._find(tenant, _query_of(point), target, window)

    async def _find(self, tenant: str, query: _Query, target: Modality, window: Window) -> Answer:
        calibration = Calibration((await self._encoder.info()).calibration)
        with stage("store"):
            scored = await self._candidates(tenant, query, target, window)
        hits = [calibration.hit(query.modality, each) for each in scored]
        relevant = [
            (each, hit) for each, hit in zip(scored, hits, strict=True) if hit.relevance >= window.min_relevance
        ]
        if window.diversity:
            end = window.offset + window.n_results
            pool, rest = relevant[:DIVERSE_POOL], relevant[DIVERSE_POOL:]
            order = diversify([each for each, _ in pool], count=end, diversity=window.diversity)
            relevant = ([pool[place] for place in order] + rest)[window.offset : end]
        return Answer([hit for _, hit in relevant], query.truncated)

    async def _candidates(self, tenant: str, query: _Query, target: Modality, window: Window) -> Sequence[ScoredItem]:
        diverse = bool(window.diversity)
        wanted = window.offset + window.n_results
        return await self._store.search(
            Partition(tenant, target),
            query.embedding,
            limit=max(wanted, DIVERSE_POOL) if diverse else window.n_results,
            offset=0 if diverse else window.offset,
            where=window.where,
            without_content=query.without_content if target is query.modality else None,
            with_embeddings=diverse,
        )


def _query_of(point: Point) -> _Query:
    return _Query(point.item.modality, point.embedding, point.item.content_hash)
