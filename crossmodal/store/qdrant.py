"""A Qdrant server or cluster, over HTTP or gRPC, as the vector store; many processes may share it.

Writes wait until they are applied, so a later search finds them. Faults that may pass are tried again, within a time.
Up to a server's own threshold searches are exact; above it they use its graph, with recall as the server is set up,
unless a search asks to be exact.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from qdrant_client import AsyncQdrantClient, models

from crossmodal.errors import StoreUnavailable
from crossmodal.records import Embedding, Embeddings, Modality, Partition, Point, ScoredItem, Statistics
from crossmodal.store import payload
from crossmodal.store.base import CollectionSpec, Key, Page, Ranked
from crossmodal.store.breaker import Breaker
from crossmodal.store.conditions import restrict
from crossmodal.store.cursor import decode_cursor, encode_cursor
from crossmodal.store.filters import Filter
from crossmodal.store.qdrant_collections import index_numbers, prepare, statistics_note, stored_statistics
from crossmodal.store.qdrant_connection import QdrantDialect, connect, parse_url
from crossmodal.store.qdrant_faults import call, is_silence, mapped
from crossmodal.store.ranking import check_window, stable_page, whole_runs
from crossmodal.store.vectors import cosine, cosines_of, stacked, unit, unit_rows

T = TypeVar("T")

PIECE = 128
"""Points sent in one request: 2 MB or so, far below the 32 MB a server takes."""

_WITHOUT_TERMS = models.PayloadSelectorExclude(exclude=[payload.TERMS])
_TO_SHOW = models.PayloadSelectorExclude(exclude=[payload.TERMS, payload.SIGNATURE])
# Of no effect unless the operator has switched quantization on; then it keeps the recall.
_SEARCH = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0))
_EXACT = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))


_filter: Callable[..., Any] = partial(restrict, QdrantDialect())


class QdrantStore:
    """A ``VectorStore`` in the collections ``{prefix}_images`` and ``{prefix}_texts`` of a Qdrant server."""

    name = "qdrant"

    def __init__(
        self, server: str | Callable[[], AsyncQdrantClient], *, api_key: str | None = None, prefix: str = "crossmodal"
    ) -> None:
        """``server`` is a URL (http, https, grpc or grpcs) or makes a client; ``open`` connects, in the serving loop.

        Raises ``ConfigurationError`` for a URL that is none of these.
        """
        self._connect = server if callable(server) else partial(connect, **parse_url(server), api_key=api_key)
        self._prefix = prefix
        self.statistics: Statistics = {}
        self._client: AsyncQdrantClient | None = None
        self._breaker = Breaker(self.ping, is_silence)
        self._dim = 0
        self._numbers: dict[Modality, payload.NumberIndexes] = {}

    async def open(self, spec: CollectionSpec) -> None:
        """See ``VectorStore.open``; several processes may do it at once, and one of them again to check ``spec``."""
        client = self._client
        if client is None:
            with mapped():
                client = self._connect()
        try:
            numbers = {modality: await prepare(client, self._name(modality), spec) for modality in Modality}
        except BaseException:
            if self._client is None:
                await client.close()
            raise
        self._client, self._dim, self._numbers = client, spec.dim, numbers
        info = await self._call(partial(client.get_collection, self._name(Modality.IMAGE)))
        self.statistics = stored_statistics(info)

    async def upsert(self, partition: Partition, points: Sequence[Point]) -> None:
        """See ``VectorStore.upsert``. Raises ``ValueError`` for embeddings or items the collection cannot take."""
        client = self._opened()
        embeddings = unit_rows(points, partition.modality, self._dim)
        newest = {point.item.id: index for index, point in enumerate(points)}
        structs = [
            models.PointStruct(
                id=payload.point_id(partition.tenant, item_id),
                vector=embeddings[index].tolist(),
                payload=payload.to_payload(partition.tenant, points[index].item),
            )
            for item_id, index in newest.items()
        ]
        name = self._name(partition.modality)
        await index_numbers(client, name, self._numbers[partition.modality], points)
        for start in range(0, len(structs), PIECE):
            piece = structs[start : start + PIECE]
            _require_applied(await self._call(partial(client.upsert, name, piece, wait=True)))

    async def fetch(
        self, partition: Partition, ids: Sequence[str], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.fetch``."""
        keys = [payload.point_id(partition.tenant, item_id) for item_id in ids]
        return await self._retrieve(partition, keys, _WITHOUT_TERMS, with_embeddings=with_embeddings)

    async def take(
        self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        """See ``VectorStore.take``."""
        return await self._retrieve(partition, keys, _TO_SHOW, with_embeddings=with_embeddings)

    async def delete(self, partition: Partition, ids: Sequence[str]) -> None:
        """See ``VectorStore.delete``."""
        client = self._opened()
        selector = models.PointIdsList(points=[payload.point_id(partition.tenant, item_id) for item_id in ids])
        if ids:
            _require_applied(
                await self._call(lambda: client.delete(self._name(partition.modality), selector, wait=True))
            )

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
        """See ``VectorStore.search``; an exact one reads all of the tenant's vectors, which takes long where they are many."""
        nearest = partial(self._nearest, partition, query, where, without_contents, exact=exact)

        async def best(n: int) -> list[ScoredItem]:
            return [
                ScoredItem(
                    payload.from_payload(hit.payload or {}, partition),
                    cosine(hit.score),
                    _embedding(hit.vector) if with_embeddings else None,
                )
                for hit in await nearest(limit=n, shown=_TO_SHOW, with_embeddings=with_embeddings)
            ]

        return await stable_page(best, limit=limit, offset=offset)

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
        """See ``VectorStore.rank``."""
        nearest = partial(self._nearest, partition, query, where, without_contents, exact=exact)

        async def best(n: int) -> list[Ranked]:
            return [Ranked(str(hit.id), cosine(hit.score)) for hit in await nearest(limit=n)]

        return await whole_runs(best, limit=limit)

    async def cosines(self, partition: Partition, keys: Sequence[Key], queries: Sequence[Embedding]) -> Embeddings:
        """See ``VectorStore.cosines``."""
        client = self._opened()
        among = models.Filter(must=[models.HasIdCondition(has_id=[*keys]), _filter(partition.tenant)])
        requests = [
            models.QueryRequest(
                query=models.NearestQuery(nearest=unit(query, self._dim).tolist()),
                filter=among,
                limit=len(keys),
                params=_EXACT,
            )
            for query in queries
        ]
        if not keys or not requests:
            return cosines_of([()] * len(keys), len(queries))
        answers = await self._call(lambda: client.query_batch_points(self._name(partition.modality), requests))
        columns = [{str(hit.id): hit.score for hit in answer.points} for answer in answers]
        return cosines_of([[column.get(str(key), math.nan) for column in columns] for key in keys], len(queries))

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
        client = self._opened()
        start = None if cursor is None else decode_cursor(partition, cursor)
        records, following = await self._call(
            lambda: client.scroll(
                self._name(partition.modality),
                _filter(partition.tenant, where),
                limit=limit,
                offset=start,
                with_payload=_WITHOUT_TERMS,
                with_vectors=with_embeddings,
            )
        )
        items = [payload.from_payload(record.payload or {}, partition) for record in records]
        embeddings = stacked([_embedding(record.vector) for record in records]) if with_embeddings else None
        return Page(items, None if following is None else encode_cursor(partition, str(following)), embeddings)

    async def count(self, partition: Partition, *, where: Filter | None = None, content_hash: str | None = None) -> int:
        """See ``VectorStore.count``."""
        client = self._opened()
        restriction = _filter(partition.tenant, where, content_hash=content_hash)
        return (await self._call(lambda: client.count(self._name(partition.modality), restriction, exact=True))).count

    async def keep_statistics(self, statistics: Statistics) -> None:
        """See ``VectorStore.keep_statistics``; other processes see it when they open the store."""
        client = self._opened()
        # An update replaces the members of the note that it names and leaves the others.
        note = statistics_note(statistics)
        name = self._name(Modality.IMAGE)
        if not await self._call(partial(client.update_collection, name, metadata=note)):
            raise StoreUnavailable("the vector store took a note but did not keep it; send it again")
        self.statistics = dict(statistics)

    async def ping(self) -> None:
        """See ``VectorStore.ping``; one attempt, and the collections must be there."""
        client = self._opened()
        for modality in Modality:
            if not await call(partial(client.collection_exists, self._name(modality)), attempts=1):
                raise StoreUnavailable("the vector store answers, but a collection is gone; restart to make it anew")

    async def close(self) -> None:
        """See ``VectorStore.close``."""
        client, self._client = self._client, None
        await self._breaker.close()
        if client is not None:
            with mapped():
                await client.close()

    async def _nearest(
        self,
        partition: Partition,
        query: Embedding,
        where: Filter | None,
        without_contents: Collection[str],
        *,
        limit: int,
        exact: bool,
        shown: Any = False,
        with_embeddings: bool = False,
    ) -> list[models.ScoredPoint]:
        client, wanted = self._opened(), unit(query, self._dim).tolist()
        response = await self._call(
            lambda: client.query_points(
                self._name(partition.modality),
                query=wanted,
                limit=limit,
                query_filter=_filter(partition.tenant, where, without_contents=without_contents),
                search_params=_EXACT if exact else _SEARCH,
                with_payload=shown,
                with_vectors=with_embeddings,
            )
        )
        return response.points

    async def _retrieve(
        self, partition: Partition, keys: Sequence[Key], shown: Any, *, with_embeddings: bool
    ) -> list[Point | None]:
        client = self._opened()
        records = await self._call(
            lambda: client.retrieve(
                self._name(partition.modality), [*keys], with_payload=shown, with_vectors=with_embeddings
            )
        )
        found = {
            str(record.id): Point(payload.from_payload(record.payload or {}, partition), _embedding(record.vector))
            for record in records
            if payload.is_of(record.payload or {}, partition)
        }
        return [found.get(str(key)) for key in keys]

    async def _call(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._breaker.run(lambda: call(work))

    def _name(self, modality: Modality) -> str:
        return f"{self._prefix}_{modality}s"

    def _opened(self) -> AsyncQdrantClient:
        if self._client is None:
            raise StoreUnavailable("the store is not open")
        return self._client


def _require_applied(result: models.UpdateResult) -> None:
    if result.status is not models.UpdateStatus.COMPLETED:
        raise StoreUnavailable("the vector store took a write but did not apply it in time; send it again")


def _embedding(vector: Any) -> Embedding:
    return np.asarray(() if vector is None else vector, np.float32)
