"""One collection in the embedded engine, with blocking calls: the only file that speaks ``qdrant_edge``."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as engine

from crossmodal.errors import CrossModalError, ServerError, StoreUnavailable
from crossmodal.records import Embedding, Embeddings, Item, Partition, Point, ScoredItem
from crossmodal.store import payload
from crossmodal.store.base import Key, Ranked
from crossmodal.store.conditions import restrict
from crossmodal.store.edge_folder import sync_files
from crossmodal.store.filters import Filter, Range
from crossmodal.store.vectors import cosine, cosines_of, stacked

FLUSH_EVERY = 10_000
"""Points written before the engine moves its log into its files: what a start after a crash has to replay at most."""

_WITHOUT_TERMS = engine.PayloadSelector.Exclude([payload.TERMS])
_TO_SHOW = engine.PayloadSelector.Exclude([payload.TERMS, payload.SIGNATURE])
"""What a hit needs: signatures are compared with each other, and nobody searches for them."""


@contextmanager
def in_engine(fault: type[ServerError] = StoreUnavailable) -> Iterator[None]:
    """Map the engine's exceptions to ``fault``; it raises bare ``Exception``, with paths in the text."""
    try:
        yield
    except CrossModalError:
        raise
    except Exception as error:
        raise fault("the embedded store's engine failed; its log line says how") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the Rust bindings' own, which cannot be imported
            raise
        raise fault("the embedded store's engine stopped; restart the service") from error


class EdgeDialect:
    """Conditions as the embedded engine writes them. See ``conditions.Dialect``."""

    def keyword(self, path: str, values: list[str]) -> Any:
        """See ``Dialect.keyword``."""
        # Every query asks for one tenant. Asked so it adds 11 to 17 % to a search, as a list of one value 45 to 57 %.
        match = engine.MatchValue(value=values[0]) if len(values) == 1 else engine.MatchAny(values)
        return engine.FieldCondition(key=path, match=match)

    def number(self, path: str, bounds: Range) -> Any:
        """See ``Dialect.number``."""
        within = engine.RangeFloat(gt=bounds.gt, gte=bounds.gte, lt=bounds.lt, lte=bounds.lte)
        return engine.FieldCondition(key=path, range=within)

    def join(
        self, *, must: list[Any] | None = None, should: list[Any] | None = None, must_not: list[Any] | None = None
    ) -> Any:
        """See ``Dialect.join``."""
        return engine.Filter(must=must, should=should, must_not=must_not)


_DIALECT = EdgeDialect()


class EdgeCollection:
    """The items of one modality, of every tenant. The caller sees to it that calls come one at a time and inside ``in_engine``."""

    @staticmethod
    def create(path: str, dim: int) -> None:
        """Write an empty collection into the new folder ``path``."""
        shard = engine.EdgeShard.create(
            path,
            engine.EdgeConfig(
                vectors=engine.EdgeVectorParams(size=dim, distance=engine.Distance.Cosine),
                optimizers=engine.EdgeOptimizersConfig(indexing_threshold=0),  # 0: never build a graph
            ),
        )
        shard.flush()
        shard.close()

    def __init__(self, path: str, *, compact: bool = True) -> None:
        """Open it; ``compact`` gives back the room of deleted items, for which it writes the others once more."""
        self._log = Path(path) / "wal"
        self._unflushed = 0
        self._shard = engine.EdgeShard.load(path)
        for name in payload.KEYWORD_FIELDS:
            self._index(name, engine.PayloadSchemaType.Keyword)
        self._numbers = payload.NumberIndexes(self._shard.info().payload_schema)
        if compact:
            # Otherwise the room of deleted items would grow for ever. It blocks, 0.3 s for 10,000 items of 512
            # dimensions, which only start-up may, and returns at once if few were deleted.
            self._shard.optimize()

    def write(self, partition: Partition, items: Sequence[Item], embeddings: Embeddings) -> None:
        """Insert or replace; durable after ``sync``."""
        for name in self._numbers.missing(items):
            self._index(payload.number_path(name), engine.PayloadSchemaType.Float)
            self._numbers.add(name)
        points = [
            engine.Point(
                payload.point_id(partition.tenant, item.id),
                embedding.tolist(),
                payload.to_payload(partition.tenant, item),
            )
            for item, embedding in zip(items, embeddings, strict=True)
        ]
        self._update(engine.UpdateOperation.upsert_points(points), len(points))

    def delete(self, partition: Partition, ids: Sequence[str]) -> None:
        """Remove by id; durable after ``sync``."""
        keys = [payload.point_id(partition.tenant, item_id) for item_id in ids]
        self._update(engine.UpdateOperation.delete_points([*keys]), len(keys))

    def sync(self) -> None:
        """Return when everything written before is on the disk; may run beside the other calls.

        The engine replays its log when it is opened, so the log alone is waited for: 0.3 ms without Python's lock,
        where the engine's own flush takes 5 to 100 ms and holds it.
        """
        sync_files(self._log)

    def fetch(self, partition: Partition, ids: Sequence[str], *, with_embeddings: bool) -> list[Point | None]:
        """Points in the order of ``ids``, None where there is none."""
        keys = [payload.point_uuid(partition.tenant, item_id) for item_id in ids]
        return self._retrieve(partition, keys, _WITHOUT_TERMS, with_embeddings=with_embeddings)

    def take(self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool) -> list[Point | None]:
        """Points in the order of ``keys``, without their signatures, None where there is none."""
        return self._retrieve(partition, keys, _TO_SHOW, with_embeddings=with_embeddings)

    def search(
        self,
        partition: Partition,
        query: Embedding,
        limit: int,
        where: Filter | None,
        without_contents: Collection[str],
        *,
        with_embeddings: bool,
    ) -> list[ScoredItem]:
        """The best ``limit`` by cosine."""
        among = restrict(_DIALECT, partition.tenant, where, without_contents=without_contents)
        return [
            ScoredItem(_item(hit, partition), cosine(hit.score), _embedding(hit) if with_embeddings else None)
            for hit in self._nearest(query, limit, among, shown=_TO_SHOW, with_embeddings=with_embeddings)
        ]

    def rank(
        self,
        partition: Partition,
        query: Embedding,
        limit: int,
        where: Filter | None,
        without_contents: Collection[str],
    ) -> list[Ranked]:
        """The best ``limit`` by cosine, by key."""
        among = restrict(_DIALECT, partition.tenant, where, without_contents=without_contents)
        return [Ranked(hit.id, cosine(hit.score)) for hit in self._nearest(query, limit, among)]

    def cosines(self, partition: Partition, keys: Sequence[Key], queries: Sequence[Embedding]) -> Embeddings:
        """Cosines of items with each query, float32 [keys, queries], not a number where there is no such item."""
        among = engine.Filter(must=[engine.HasIdCondition({*keys}), restrict(_DIALECT, partition.tenant)])
        columns = [{hit.id: hit.score for hit in self._nearest(query, len(keys), among)} for query in queries]
        return cosines_of([[column.get(key, math.nan) for column in columns] for key in keys], len(queries))

    def scroll(
        self, partition: Partition, limit: int, start: str | None, where: Filter | None, *, with_embeddings: bool
    ) -> tuple[list[Item], str | None, Embeddings | None]:
        """``limit`` items by rising point id from ``start`` on, the point id after them, and their embeddings."""
        request = engine.ScrollRequest(
            offset=start,
            limit=limit,
            filter=restrict(_DIALECT, partition.tenant, where),
            with_payload=_WITHOUT_TERMS,
            with_vector=with_embeddings,
        )
        records, following = self._shard.scroll(request)
        embeddings = stacked([_embedding(record) for record in records]) if with_embeddings else None
        items = [_item(record, partition) for record in records]
        return items, None if following is None else str(following), embeddings

    def count(self, partition: Partition, where: Filter | None, content_hash: str | None) -> int:
        """Exact number of items."""
        restriction = restrict(_DIALECT, partition.tenant, where, content_hash=content_hash)
        return self._shard.count(engine.CountRequest(exact=True, filter=restriction))

    def ping(self) -> None:
        """Return if the engine answers."""
        self._shard.info()

    def close(self) -> None:
        """Flush and release the files."""
        self._shard.flush()
        self._shard.close()

    def _nearest(
        self, query: Embedding, limit: int, among: Any, *, shown: Any = False, with_embeddings: bool = False
    ) -> list[engine.ScoredPoint]:
        request = engine.QueryRequest(
            limit=limit,
            query=engine.Query.Nearest(query.tolist()),
            filter=among,
            params=engine.SearchParams(exact=True),
            with_payload=shown,
            with_vector=with_embeddings,
        )
        return self._shard.query(request)

    def _retrieve(
        self, partition: Partition, keys: Sequence[Key], shown: Any, *, with_embeddings: bool
    ) -> list[Point | None]:
        records = self._shard.retrieve([*keys], shown, with_embeddings)
        found = {
            record.id: Point(_item(record, partition), _embedding(record))
            for record in records
            if payload.is_of(record.payload or {}, partition)
        }
        return [found.get(key) for key in keys]

    def _update(self, operation: engine.UpdateOperation, points: int) -> None:
        self._shard.update(operation)
        self._unflushed += points
        if self._unflushed >= FLUSH_EVERY:
            self._shard.flush()
            self._unflushed = 0

    def _index(self, path: str, kind: engine.PayloadSchemaType) -> None:
        self._shard.update(engine.UpdateOperation.create_field_index(path, kind))  # does nothing to one that exists


def _item(record: engine.Record | engine.ScoredPoint, partition: Partition) -> Item:
    return payload.from_payload(record.payload or {}, partition)


def _embedding(record: engine.Record | engine.ScoredPoint) -> Embedding:
    return np.asarray(record.vector or (), np.float32)
