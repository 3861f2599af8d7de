"""A store before another one, which tells somebody of each use. So every store is counted alike and knows nothing of it."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager

from crossmodal.records import Embedding, Embeddings, Partition, Point, ScoredItem, Statistics
from crossmodal.store.base import CollectionSpec, Key, Page, Ranked, VectorStore
from crossmodal.store.filters import Filter

Observe = Callable[[str, str, int], AbstractContextManager[None]]
"""Is entered around a use of the store: its kind, the operation, and how many items it is about, or at most."""


class ObservedStore:
    """A ``VectorStore`` that is another one, for whoever uses it."""

    def __init__(self, store: VectorStore, observe: Observe) -> None:
        self._store = store
        self._observe = observe
        self.name = store.name

    @property
    def statistics(self) -> Statistics:
        """See ``VectorStore.statistics``."""
        return self._store.statistics

    @statistics.setter
    def statistics(self, statistics: Statistics) -> None:
        self._store.statistics = statistics

    async def open(self, spec: CollectionSpec) -> None:
        """See ``VectorStore.open``; waiting for a store that is not there yet is no use of it."""
        await self._store.open(spec)

    async def upsert(self, partition: Partition, points: Sequence[Point]) -> None:
        """See ``VectorStore.upsert``."""
        with self._observe(self.name, "upsert", len(points)):
            await self._store.upsert(partition, points)

    async def fetch(
        self, partition: Partition, ids: Sequence[str], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.fetch``."""
        with self._observe(self.name, "fetch", len(ids)):
            return await self._store.fetch(partition, ids, with_embeddings=with_embeddings)

    async def delete(self, partition: Partition, ids: Sequence[str]) -> None:
        """See ``VectorStore.delete``."""
        with self._observe(self.name, "delete", len(ids)):
            await self._store.delete(partition, ids)

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
        """See ``VectorStore.search``."""
        with self._observe(self.name, "search", limit):
            return await self._store.search(
                partition,
                query,
                limit=limit,
                offset=offset,
                where=where,
                without_contents=without_contents,
                with_embeddings=with_embeddings,
                exact=exact,
            )

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
        """See ``VectorStore.rank``; a part of a search."""
        with self._observe(self.name, "search", limit):
            return await self._store.rank(
                partition, query, limit=limit, where=where, without_contents=without_contents, exact=exact
            )

    async def cosines(self, partition: Partition, keys: Sequence[Key], queries: Sequence[Embedding]) -> Embeddings:
        """See ``VectorStore.cosines``; a part of a search."""
        with self._observe(self.name, "search", len(keys)):
            return await self._store.cosines(partition, keys, queries)

    async def take(
        self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.take``; a part of a search."""
        with self._observe(self.name, "fetch", len(keys)):
            return await self._store.take(partition, keys, with_embeddings=with_embeddings)

    async def scroll(
        self,
        partition: Partition,
        *,
        limit: int,
        cursor: str | None = None,
        where: Filter | None = None,
        with_embeddings: bool = False,
    ) -> Page:
        """See ``VectorStore.scroll``."""
        with self._observe(self.name, "scroll", limit):
            return await self._store.scroll(
                partition, limit=limit, cursor=cursor, where=where, with_embeddings=with_embeddings
            )

    async def count(self, partition: Partition, *, where: Filter | None = None, content_hash: str | None = None) -> int:
        """See ``VectorStore.count``."""
        with self._observe(self.name, "count", 0):
            return await self._store.count(partition, where=where, content_hash=content_hash)

    async def keep_statistics(self, statistics: Statistics) -> None:
        """See ``VectorStore.keep_statistics``; once in the life of a collection."""
        await self._store.keep_statistics(statistics)

    async def ping(self) -> None:
        """See ``VectorStore.ping``; what probes ask is no use of it."""
        await self._store.ping()

    async def close(self) -> None:
        """See ``VectorStore.close``."""
        await self._store.close()
