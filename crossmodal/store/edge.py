"""The embedded store: Qdrant's engine in this process, a folder for each modality, one owning process.

Search is exact: every vector of the tenant is compared, 1 ms for 10,000 of 512 dimensions and 11 ms for 100,000, and
1.4 ms for a tenant with a tenth of 100,000. Beyond that a Qdrant server is the better store. No graph is built, so no
answer is approximate and opening takes well under a second.

The engine holds Python's global lock through every call, so reads and writes never run beside each other and more
threads would gain nothing. A search for few items runs where it is asked for: waiting for another thread's turn would take
a third of its time, and the event loop stands still in either case. One worker thread takes the other calls in order,
and writes go in pieces, so that a search waits for a piece and not for a whole upload. Waiting for the disk is left to a
second thread, beside which searches go on.
Use after ``fork`` would hang, and is refused.
"""

import asyncio
import math
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from crossmodal.disk import MIN_FREE
from crossmodal.errors import ConfigurationError, StoreUnavailable
from crossmodal.records import DEFAULT_TENANT, Embedding, Embeddings, Modality, Partition, Point, ScoredItem, Statistics
from crossmodal.store.base import CollectionSpec, Key, Page, Ranked
from crossmodal.store.cursor import decode_cursor, encode_cursor
from crossmodal.store.edge_folder import StoreFolder
from crossmodal.store.edge_shard import EdgeCollection, in_engine
from crossmodal.store.filters import Filter
from crossmodal.store.ranking import check_window, stable_page, whole_runs
from crossmodal.store.vectors import cosines_of, unit, unit_rows

T = TypeVar("T")

PIECE = 128
"""Points written in one piece: about 7 ms at 512 dimensions."""

FEW = 64
"""Hits that are made into items in the event loop, at about 6 us each; more of them, or their vectors, beside it."""

_EIGHT = 8


class EdgeStore:
    """A ``VectorStore`` in the folder ``path``, which one process at a time may have open."""

    name = "edge"

    def __init__(self, path: str | os.PathLike[str], *, min_free: int = MIN_FREE) -> None:
        """``min_free`` bytes must be free on its disk for anything to be written, an eighth of them to open or delete."""
        self._folder = StoreFolder(Path(path))
        self._min_free = min_free
        self.statistics: Statistics = {}
        self._collections: dict[Modality, EdgeCollection] = {}
        self._spec: CollectionSpec | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._syncer: ThreadPoolExecutor | None = None
        self._process = 0

    async def open(self, spec: CollectionSpec) -> None:
        """See ``VectorStore.open``; an open store is checked against ``spec`` again."""
        if self._worker is not None:
            await self._call(partial(self._folder.require, spec))
            return
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="edge-store")
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="edge-sync")
        self._process = os.getpid()
        try:
            await self._call(partial(self._open, spec))
        except BaseException:
            await self.close()
            raise
        self._spec = spec

    async def upsert(self, partition: Partition, points: Sequence[Point]) -> None:
        """See ``VectorStore.upsert``. Raises ``ValueError`` for embeddings or items the collection cannot take."""
        collection, dim = self._collection(partition)
        items, embeddings = [point.item for point in points], unit_rows(points, partition.modality, dim)
        for start in range(0, len(items), PIECE):
            piece = slice(start, start + PIECE)
            write = partial(collection.write, partition, items[piece], embeddings[piece])
            await self._call(partial(self._with_room, self._min_free, write))
        await self._call(collection.sync, self._syncer)

    async def fetch(
        self, partition: Partition, ids: Sequence[str], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.fetch``."""
        collection, _ = self._collection(partition)
        return await self._call(partial(collection.fetch, partition, ids, with_embeddings=with_embeddings))

    async def delete(self, partition: Partition, ids: Sequence[str]) -> None:
        """See ``VectorStore.delete``."""
        collection, _ = self._collection(partition)
        await self._call(partial(self._with_room, self._min_free // _EIGHT, partial(collection.delete, partition, ids)))
        await self._call(collection.sync, self._syncer)

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
        exact: bool = False,  # noqa: ARG002  every search is: no graph is built
    ) -> list[ScoredItem]:
        """See ``VectorStore.search``."""
        collection, dim = self._collection(partition)
        wanted = unit(query, dim)

        async def best(n: int) -> list[ScoredItem]:
            find = partial(
                collection.search, partition, wanted, n, where, without_contents, with_embeddings=with_embeddings
            )
            return await self._soon(math.inf if with_embeddings else n, find)

        return await stable_page(best, limit=limit, offset=offset)

    async def rank(
        self,
        partition: Partition,
        query: Embedding,
        *,
        limit: int,
        where: Filter | None = None,
        without_contents: Collection[str] = (),
        exact: bool = False,  # noqa: ARG002  every search is: no graph is built
    ) -> list[Ranked]:
        """See ``VectorStore.rank``."""
        collection, dim = self._collection(partition)
        wanted = unit(query, dim)

        async def best(n: int) -> list[Ranked]:
            return await self._soon(n, partial(collection.rank, partition, wanted, n, where, without_contents))

        return await whole_runs(best, limit=limit)

    async def cosines(self, partition: Partition, keys: Sequence[Key], queries: Sequence[Embedding]) -> Embeddings:
        """See ``VectorStore.cosines``."""
        collection, dim = self._collection(partition)
        wanted = [unit(query, dim) for query in queries]
        if not keys:
            return cosines_of([], len(queries))
        return await self._call(partial(collection.cosines, partition, keys, wanted))

    async def take(
        self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.take``."""
        collection, _ = self._collection(partition)
        return await self._soon(len(keys), partial(collection.take, partition, keys, with_embeddings=with_embeddings))

    async def scroll(
        self,
        partition: Partition,
        *,
        limit: int,
        cursor: str | None = None,
        where: Filter | None = None,
        with_embeddings: bool = False,
    ) -> Page:
        """See ``VectorStore.scroll``; items inserted meanwhile are met if their turn is still to come."""
        check_window(limit, 0)
        collection, _ = self._collection(partition)
        start = None if cursor is None else decode_cursor(partition, cursor)
        read = partial(collection.scroll, partition, limit, start, where, with_embeddings=with_embeddings)
        items, following, embeddings = await self._call(read)
        return Page(items, following and encode_cursor(partition, following), embeddings)

    async def count(self, partition: Partition, *, where: Filter | None = None, content_hash: str | None = None) -> int:
        """See ``VectorStore.count``."""
        collection, _ = self._collection(partition)
        return await self._call(partial(collection.count, partition, where, content_hash))

    async def keep_statistics(self, statistics: Statistics) -> None:
        """See ``VectorStore.keep_statistics``."""
        self._collection(Partition(DEFAULT_TENANT, Modality.IMAGE))
        keep = partial(self._folder.write_statistics, statistics)
        await self._call(partial(self._with_room, self._min_free // _EIGHT, keep))
        self.statistics = dict(statistics)

    async def ping(self) -> None:
        """See ``VectorStore.ping``."""
        collection, _ = self._collection(Partition(DEFAULT_TENANT, Modality.IMAGE))
        await self._call(collection.ping)

    async def close(self) -> None:
        """See ``VectorStore.close``; calls under way end first."""
        worker, syncer = self._worker, self._syncer
        self._worker = self._syncer = self._spec = None
        if worker is None or syncer is None or os.getpid() != self._process:
            return
        await asyncio.get_running_loop().run_in_executor(worker, self._close)
        worker.shutdown()
        syncer.shutdown()

    def _with_room(self, least: int, write: Callable[[], None]) -> None:
        self._folder.require_room(least)
        write()

    def _open(self, spec: CollectionSpec) -> None:
        self._folder.acquire()
        self._folder.require_room(self._min_free // _EIGHT)
        self._folder.require(spec)
        self.statistics = self._folder.read_statistics()
        with in_engine(ConfigurationError):
            for modality in Modality:
                self._folder.make_shard(modality, partial(EdgeCollection.create, dim=spec.dim))
                self._collections[modality] = EdgeCollection(str(self._folder.shard_path(modality)))

    def _close(self) -> None:
        with in_engine(), ExitStack() as ends:  # each is closed, whatever becomes of the others
            ends.callback(self._folder.release)
            for collection in self._collections.values():
                ends.callback(collection.close)
            self._collections = {}

    def _collection(self, partition: Partition) -> tuple[EdgeCollection, int]:
        if self._spec is None:
            raise StoreUnavailable("the store is not open")
        return self._collections[partition.modality], self._spec.dim

    def _require_process(self) -> None:
        if os.getpid() != self._process:
            raise ConfigurationError("the store was opened before a fork; open a store in each process that uses one")

    async def _soon(self, items: float, work: Callable[[], T]) -> T:
        """Run ``work`` about so many ``items`` here at once if they are few."""
        if items > FEW:
            return await self._call(work)
        self._require_process()
        with in_engine():
            return work()

    async def _call(self, work: Callable[[], T], thread: ThreadPoolExecutor | None = None) -> T:
        """Run ``work`` in ``thread`` or else the worker thread, after all that was asked of it before."""
        thread = thread or self._worker
        if thread is None:
            raise StoreUnavailable("the store is not open")
        self._require_process()

        def mapped() -> T:
            with in_engine():
                return work()

        return await asyncio.get_running_loop().run_in_executor(thread, mapped)
