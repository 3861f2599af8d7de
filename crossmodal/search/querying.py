"""Find items by a text, a picture, an indexed item, or several of these together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from crossmodal.encoder import Encoder
from crossmodal.errors import ClientError, NotFound
from crossmodal.metering import charge
from crossmodal.records import Embedding, Hit, LongText, Modality, Partition, Point
from crossmodal.search.finding import Finder, Window
from crossmodal.search.fusion import Part
from crossmodal.search.intake import together
from crossmodal.search.pictures import PictureReader
from crossmodal.search.reading import TextReader
from crossmodal.store.base import VectorStore
from crossmodal.telemetry import stage

__all__ = ["Answer", "AskedItem", "AskedPicture", "AskedText", "Querying", "Window"]


@dataclass(frozen=True, slots=True)
class AskedText:
    """A text as a part of a query."""

    text: str
    weight: float = 1.0
    long_text: LongText = "truncate"


@dataclass(frozen=True, slots=True)
class AskedPicture:
    """An encoded picture as a part of a query."""

    content: bytes
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class AskedItem:
    """An indexed item as a part of a query."""

    modality: Modality
    id: str
    weight: float = 1.0


Asked = AskedText | AskedPicture | AskedItem


Stored = Mapping[tuple[Modality, str], Point]
"""Indexed items by modality and id."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, best first, and what the model read of the query's texts.

    ``tokens_used`` is 0 for a query without a text; ``truncated`` says that there was more than it read.
    """

    hits: list[Hit]
    tokens_used: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A part of a query, the content hash of what it must not find, and what was read of its text."""

    part: Part
    content_hash: str | None = None
    tokens_used: int = 0
    truncated: bool = False


class Querying:
    """The use case. One instance serves all requests of a process; each finds items of the tenant it names alone.

    Its methods raise ``Overloaded``, ``ModelUnavailable``, ``StoreUnavailable`` and the client errors that reading a
    text or a picture raises.
    """

    def __init__(
        self, encoder: Encoder, store: VectorStore, finder: Finder, pictures: PictureReader, texts: TextReader
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._finder = finder
        self._pictures = pictures
        self._texts = texts

    async def by_text(
        self, tenant: str, text: str, target: Modality, window: Window, long_text: LongText = "truncate"
    ) -> Answer:
        """Items nearest to a text."""
        read = await self._read(AskedText(text, long_text=long_text))
        return await self._find(tenant, [read], [target], window)

    async def by_picture(self, tenant: str, content: bytes, target: Modality, window: Window) -> Answer:
        """Items nearest to an encoded picture; an item with the same bytes is never among them."""
        return await self._find(tenant, [await self._read(AskedPicture(content))], [target], window)

    async def by_embedding(
        self, tenant: str, modality: Modality, embedding: Embedding, target: Modality, window: Window
    ) -> Answer:
        """Items nearest to a unit embedding of something of ``modality``; nothing is left out."""
        return await self._find(tenant, [_Read(Part(embedding, modality))], [target], window)

    async def by_item(self, tenant: str, modality: Modality, item_id: str, target: Modality, window: Window) -> Answer:
        """Items nearest to an indexed one; neither it nor another with its content is among them.

        Raises ``NotFound`` if there is no such item.
        """
        asked = AskedItem(modality, item_id)
        read = await self._read(asked, await self._stored(tenant, [asked]))
        return await self._find(tenant, [read], [target], window)

    async def by_parts(
        self, tenant: str, asked: Sequence[Asked], targets: Collection[Modality], window: Window
    ) -> Answer:
        """Items that answer all parts together; pictures and items that are asked by are never among them.

        Raises ``ValidationFailed`` unless a part has a weight above 0. What is wrong with a part is raised with its place,
        counted from 0, in ``loc``.
        """
        stored = await self._stored(tenant, asked)
        read = await together(self._read_at(place, each, stored) for place, each in enumerate(asked))
        return await self._find(tenant, read, targets, window)

    async def _find(self, tenant: str, read: Sequence[_Read], targets: Collection[Modality], window: Window) -> Answer:
        known = {each.content_hash for each in read if each.content_hash is not None}
        hits = await self._finder.find(tenant, [each.part for each in read], targets, window, known)
        return Answer(hits, sum(each.tokens_used for each in read), any(each.truncated for each in read))

    async def _stored(self, tenant: str, asked: Sequence[Asked]) -> Stored:
        """The indexed items among the parts, fetched together."""
        found: dict[tuple[Modality, str], Point] = {}
        for modality in Modality:
            ids = [each.id for each in asked if isinstance(each, AskedItem) and each.modality is modality]
            if ids:
                with stage("store"):
                    points = await self._store.fetch(Partition(tenant, modality), ids, with_embeddings=True)
                found |= {(modality, point.item.id): point for point in points if point is not None}
        return found

    async def _read_at(self, place: int, asked: Asked, stored: Stored) -> _Read:
        try:
            return await self._read(asked, stored)
        except ClientError as fault:
            raise fault.under(place) from None

    async def _read(self, asked: Asked, stored: Stored = MappingProxyType({})) -> _Read:
        match asked:
            case AskedText(text, weight, long_text):
                charge(items=1)
                read = await self._texts.embed([self._texts.check(text)], long_text)
                part = Part(read.embeddings[0], Modality.TEXT, weight)
                return _Read(part, tokens_used=int(read.tokens_used[0]), truncated=bool(read.truncated[0]))
            case AskedPicture(content, weight):
                charge(items=1)
                info = await self._encoder.info()
                picture = await self._pictures.read(content, info.preprocessing, hashed=True)
                embeddings = await self._encoder.embed_pixels(picture.pixels[None])
                return _Read(Part(embeddings[0], Modality.IMAGE, weight), picture.content_hash)
            case AskedItem(modality, item_id, weight):
                point = stored.get((modality, item_id))
                if point is None:
                    raise NotFound(f"there is no {modality} with the id {item_id!r}")
                return _Read(Part(point.embedding, modality, weight), point.item.content_hash)
