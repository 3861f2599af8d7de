"""The store in memory: every comparison made, nothing kept after the process. The oracle of the other stores' tests."""

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np

from crossmodal.errors import StoreUnavailable
from crossmodal.records import (
    DEFAULT_TENANT,
    Embedding,
    Embeddings,
    Item,
    Modality,
    Partition,
    Point,
    ScoredItem,
    Statistics,
)
from crossmodal.store.base import CollectionSpec, Key, Page, Ranked
from crossmodal.store.cursor import decode_cursor, encode_cursor
from crossmodal.store.filters import Filter, matches
from crossmodal.store.fingerprint import require_same
from crossmodal.store.payload import point_id
from crossmodal.store.ranking import check_window, rank, whole_runs
from crossmodal.store.vectors import cosine, cosines_of, stacked, unit, unit_rows


@dataclass(slots=True)
class _Collection:
    """Points by id; ``matrix`` [n, dim] holds their embeddings in the same order and is None after a change."""

    points: dict[str, Point] = field(default_factory=dict)
    matrix: Embeddings | None = None

    def embeddings(self) -> Embeddings:
        if self.matrix is None:
            self.matrix = np.stack([point.embedding for point in self.points.values()])
        return self.matrix


class ExactStore:
    """A ``VectorStore`` of dictionaries, one for each partition, and one matrix product a search; nothing outlives ``close``.

    Items returned share their metadata with the store: read them, do not change them.
    """

    name = "memory"

    def __init__(self) -> None:
        self.statistics: Statistics = {}
        self._spec: CollectionSpec | None = None
        self._collections: dict[Partition, _Collection] = {}

    async def open(self, spec: CollectionSpec) -> None:
        """See ``VectorStore.open``; an open store is checked against ``spec`` again."""
        if self._spec is not None:
            require_same(self._spec, spec, elsewhere="restart, which empties the store in memory")
        else:
            self._spec = spec
            self._collections = {}

    async def upsert(self, partition: Partition, points: Sequence[Point]) -> None:
        """See ``VectorStore.upsert``."""
        collection = self._open(partition)
        for point, embedding in zip(points, unit_rows(points, partition.modality, self._dim), strict=True):
            item = replace(point.item, metadata=deepcopy(dict(point.item.metadata)))
            collection.points[item.id] = Point(item, embedding)
        collection.matrix = None
        self._collections[partition] = collection

    async def fetch(
        self, partition: Partition, ids: Sequence[str], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.fetch``."""
        found = [self._open(partition).points.get(item_id) for item_id in ids]
        if with_embeddings:
            return [point and Point(point.item, point.embedding.copy()) for point in found]
        return [point and Point(point.item, np.empty(0, np.float32)) for point in found]

    async def delete(self, partition: Partition, ids: Sequence[str]) -> None:
        """See ``VectorStore.delete``."""
        collection = self._open(partition)
        for item_id in ids:
            collection.points.pop(item_id, None)
        collection.matrix = None

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
        exact: bool = False,  # noqa: ARG002  every search is
    ) -> list[ScoredItem]:
        """See ``VectorStore.search``."""
        check_window(limit, offset)
        hits = [
            ScoredItem(point.item, score, point.embedding.copy() if with_embeddings else None)
            for point, score in self._scored(partition, query, where, without_contents)
        ]
        return sorted(hits, key=rank)[offset : offset + limit]

    async def rank(
        self,
        partition: Partition,
        query: Embedding,
        *,
        limit: int,
        where: Filter | None = None,
        without_contents: Collection[str] = (),
        exact: bool = False,  # noqa: ARG002  every search is
    ) -> list[Ranked]:
        """See ``VectorStore.rank``; keys are ids."""
        scored = self._scored(partition, query, where, without_contents)
        ranked = sorted((Ranked(point.item.id, score) for point, score in scored), key=lambda each: -each.score)

        async def best(n: int) -> list[Ranked]:
            return ranked[:n]

        return await whole_runs(best, limit=limit)

    async def cosines(self, partition: Partition, keys: Sequence[Key], queries: Sequence[Embedding]) -> Embeddings:
        """See ``VectorStore.cosines``."""
        points = [self._open(partition).points.get(str(key)) for key in keys]
        none = np.full(self._dim, np.nan, np.float32)
        wanted = [unit(query, self._dim) for query in queries]
        rows = [none if point is None else point.embedding for point in points]
        return cosines_of([[float(row @ query) for query in wanted] for row in rows], len(queries))

    async def take(
        self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.take``."""
        return await self.fetch(partition, [str(key) for key in keys], with_embeddings=with_embeddings)

    async def scroll(
        self,
        partition: Partition,
        *,
        limit: int,
        cursor: str | None = None,
        where: Filter | None = None,
        with_embeddings: bool = False,
    ) -> Page:
        """See ``VectorStore.scroll``; the order is that of the ids' UUIDs, as in the Qdrant engines."""
        check_window(limit, 0)
        start = "" if cursor is None else decode_cursor(partition, cursor)
        held = {point_id(partition.tenant, item_id): point for item_id, point in self._open(partition).points.items()}
        left = [key for key in sorted(held) if key >= start and _holds(where, held[key].item)]
        next_cursor = encode_cursor(partition, left[limit]) if len(left) > limit else None
        found = [held[key] for key in left[:limit]]
        embeddings = stacked([point.embedding for point in found]) if with_embeddings else None
        return Page([point.item for point in found], next_cursor, embeddings)

    async def count(self, partition: Partition, *, where: Filter | None = None, content_hash: str | None = None) -> int:
        """See ``VectorStore.count``."""
        items = [point.item for point in self._open(partition).points.values()]
        return sum(_holds(where, item) and content_hash in {None, item.content_hash} for item in items)

    async def keep_statistics(self, statistics: Statistics) -> None:
        """See ``VectorStore.keep_statistics``."""
        self._open(Partition(DEFAULT_TENANT, Modality.IMAGE))
        self.statistics = dict(statistics)

    async def ping(self) -> None:
        """See ``VectorStore.ping``."""
        self._open(Partition(DEFAULT_TENANT, Modality.IMAGE))

    async def close(self) -> None:
        """See ``VectorStore.close``."""
        self._spec = None
        self._collections = {}
        self.statistics = {}

    @property
    def _dim(self) -> int:
        return self._spec.dim if self._spec else 0

    def _scored(
        self, partition: Partition, query: Embedding, where: Filter | None, without_contents: Collection[str]
    ) -> list[tuple[Point, float]]:
        """All points that are looked for, with their cosines."""
        collection = self._open(partition)
        wanted = unit(query, self._dim)
        if not collection.points:
            return []
        # Row by row, where a matrix product would give equal rows scores that differ in the last bit.
        scores = np.einsum("nd,d->n", collection.embeddings(), wanted)
        return [
            (point, cosine(score))
            for point, score in zip(collection.points.values(), scores, strict=True)
            if point.item.content_hash not in without_contents and _holds(where, point.item)
        ]

    def _open(self, partition: Partition) -> _Collection:
        if self._spec is None:
            raise StoreUnavailable("the store is not open")
        return self._collections.get(partition) or _Collection()


def _holds(where: Filter | None, item: Item) -> bool:
    return where is None or matches(where, item.metadata)
