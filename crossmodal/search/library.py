"""What is indexed: look at items, list them, fetch their pictures, remove them."""

from dataclasses import dataclass

from crossmodal.encoder import Encoder
from crossmodal.errors import NotFound
from crossmodal.media import MediaStore
from crossmodal.records import Item, Modality, Partition
from crossmodal.search.writing import ItemWriter
from crossmodal.store.base import Page, VectorStore
from crossmodal.store.filters import Filter
from crossmodal.telemetry import stage


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and the state of the parts, for `/stats`."""

    model: str
    embedding_dim: int
    images_indexed: int
    texts_indexed: int
    store: str
    device: str
    precision: str
    runtime: str
    fingerprint: str


class Library:
    """The use case. One instance serves all requests of a process. Every method may raise ``StoreUnavailable``.

    What belongs to another tenant is not found, as if it were not there.
    """

    def __init__(self, encoder: Encoder, store: VectorStore, media: MediaStore, writer: ItemWriter) -> None:
        self._encoder = encoder
        self._store = store
        self._media = media
        self._writer = writer

    async def get(self, tenant: str, modality: Modality, item_id: str) -> Item:
        """Return an item. Raises ``NotFound``."""
        with stage("store"):
            (point,) = await self._store.fetch(Partition(tenant, modality), [item_id])
        if point is None:
            raise NotFound(f"there is no {modality} with the id {item_id!r}")
        return point.item

    async def remove(self, tenant: str, modality: Modality, item_id: str) -> None:
        """Remove an item and its file; no later search finds it. Raises ``NotFound``."""
        if not await self._writer.remove(Partition(tenant, modality), item_id):
            raise NotFound(f"there is no {modality} with the id {item_id!r}")

    async def list(
        self, tenant: str, modality: Modality, *, limit: int, cursor: str | None, where: Filter | None
    ) -> Page:
        """A page of items in the store's order. Raises ``ValidationFailed`` for a cursor that is not from here."""
        with stage("store"):
            return await self._store.scroll(Partition(tenant, modality), limit=limit, cursor=cursor, where=where)

    async def original(self, tenant: str, item: Item) -> bytes:
        """The bytes of a picture as they were indexed. Raises ``NotFound``."""
        return await self._media.original(tenant, item.content_hash)

    async def thumbnail(self, tenant: str, item: Item) -> bytes:
        """A small WebP of a picture. Raises ``NotFound``."""
        return await self._media.thumbnail(tenant, item.content_hash)

    async def stats(self, tenant: str) -> Stats:
        """Counts of the tenant's items and the state of the parts."""
        info = await self._encoder.info()
        with stage("store"):
            images = await self._store.count(Partition(tenant, Modality.IMAGE))
            texts = await self._store.count(Partition(tenant, Modality.TEXT))
        return Stats(
            info.name,
            info.dim,
            images,
            texts,
            self._store.name,
            info.device,
            info.precision,
            info.runtime,
            info.fingerprint,
        )
