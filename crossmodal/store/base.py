"""The port: everything the service asks of a vector store. A new store is one new file that satisfies it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from crossmodal.records import Embedding, Embeddings, Item, Partition, Point, ScoredItem, Statistics
from crossmodal.store.filters import Filter


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What the collections must fit: the embeddings' dimension and the fingerprint of the model that made them.

    ``settings`` are those that made it that model, by name, for the operator to read: nothing depends on them, they may be
    missing, and the store notes those of the first use.
    """

    dim: int
    fingerprint: str
    settings: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some items in the store's own, stable order; ``next_cursor`` is opaque and None at the end.

    ``embeddings`` are those of the items, in their order, where they were asked for.
    """

    items: list[Item]
    next_cursor: str | None
    embeddings: Embeddings | None = field(default=None, compare=False)


Key = UUID | int | str
"""A store's own name for an item: of use only to the store, and there only in the partition, that gave it."""


class Ranked(NamedTuple):
    """An item found, by its key, with the raw cosine (-1 to 1) of its embedding and the query's."""

    key: Key
    score: float


class VectorStore(Protocol):
    """One collection per modality, cosine similarity, items found by id, each tenant's for itself.

    Every use names its ``Partition``, and the store sees to it that nothing of another is read, counted or changed: the
    same id in two partitions is two items, and what ``where`` says can only narrow a partition.

    Every method but ``close`` raises ``StoreUnavailable`` when the store does not answer. Embeddings given must be
    finite and of unit length, ``created_at`` has a time zone, ``limit`` is at least 1 and ``offset`` at least 0: callers
    see to it, adapters refuse others with ``ValueError``.
    """

    name: str
    """The kind of store, as `/stats` shows it: no path, no host, no key."""

    statistics: Statistics
    """What ``keep_statistics`` kept here, or whoever it was before the store was opened; empty if nobody did."""

    async def open(self, spec: CollectionSpec) -> None:
        """Create what is missing and check what exists.

        Raises ``FingerprintMismatch`` if a collection was made by another model, ``ConfigurationError`` if the store
        cannot be opened at all (no rights, owned by another process).
        """

    async def upsert(self, partition: Partition, points: Sequence[Point]) -> None:
        """Insert or replace by id. When it returns the points are durable and found by every later search."""

    async def fetch(
        self, partition: Partition, ids: Sequence[str], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """Points by id, in the order of ``ids``, None where there is none; without embeddings they are empty arrays."""

    async def delete(self, partition: Partition, ids: Sequence[str]) -> None:
        """Remove by id, durably; unknown ids are no error."""

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
        """Nearest by cosine, best first, equal scores by id; ``without_contents`` are content hashes whose items are left out.

        With ``exact`` every item is compared; without, a store may look in an index that misses some. The items may come
        without their signatures.
        """

    async def rank(
        self,
        partition: Partition,
        query: Embedding,
        *,
        limit: int,
        where: Filter | None = None,
        without_contents: Collection[str] = (),
        exact: bool = False,
    ) -> list[Ranked]:
        """As ``search`` from the best on, without the items, which are most of its time where few of many are shown.

        All that are equal to the last of ``limit`` are there too, or 4096 of them, so that nobody has to know in which
        order a store would have cut them.
        """

    async def cosines(self, partition: Partition, keys: Sequence[Key], queries: Sequence[Embedding]) -> Embeddings:
        """Cosines of items with each of ``queries``, float32 [keys, queries]; not a number where the item is gone.

        For many items this takes a small part of the time of having their embeddings brought here.
        """

    async def take(
        self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """As ``fetch``, by the keys that ``rank`` gave; items may come without their signatures."""

    async def scroll(
        self,
        partition: Partition,
        *,
        limit: int,
        cursor: str | None = None,
        where: Filter | None = None,
        with_embeddings: bool = False,
    ) -> Page:
        """Walk through a partition. Raises ``ValidationFailed`` for a cursor that was not given out for it."""

    async def count(self, partition: Partition, *, where: Filter | None = None, content_hash: str | None = None) -> int:
        """Exact number of the partition's items, of those with ``content_hash`` when given."""

    async def keep_statistics(self, statistics: Statistics) -> None:
        """Keep with the collections how their cosines are spread, durably, instead of what was kept before."""

    async def ping(self) -> None:
        """Return if the store answers now."""

    async def close(self) -> None:
        """Release everything; the store can be opened again by another process."""
