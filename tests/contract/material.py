"""Items, embeddings and comparisons for the tests that every store must pass."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from crossmodal.records import (
    DEFAULT_TENANT,
    Embedding,
    Embeddings,
    Item,
    Metadata,
    MetadataValue,
    Modality,
    PairStatistics,
    Partition,
    Point,
    Statistics,
    hash_content,
)
from crossmodal.store.base import CollectionSpec, VectorStore
from crossmodal.store.filters import Filter, matches

DIM = 8
SETTINGS = {"MODEL": "tiny", "PREPROCESSING": "standard", "PRECISION": "auto"}
SPEC = CollectionSpec(DIM, "tiny-model:0123", SETTINGS)
IMAGES = Partition(DEFAULT_TENANT, Modality.IMAGE)
TEXTS = Partition(DEFAULT_TENANT, Modality.TEXT)
NOON = datetime(2024, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)


def unit_vectors(count: int, dim: int = DIM, seed: int = 0) -> Embeddings:
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    normed: Embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return normed


def axis(index: int, dim: int = DIM) -> Embedding:
    unit: Embedding = np.eye(dim, dtype=np.float32)[index]
    return unit


def point(
    item_id: str,
    embedding: Embedding,
    metadata: Mapping[str, MetadataValue] | None = None,
    *,
    modality: Modality = Modality.IMAGE,
    content: str | None = None,
    text: str | None = None,
    created_at: datetime = NOON,
) -> Point:
    digest = hash_content((item_id if content is None else content).encode())
    return Point(Item(item_id, modality, digest, created_at, dict(metadata or {}), text), embedding)


def points(count: int, *, prefix: str = "item", seed: int = 0) -> list[Point]:
    return [
        point(f"{prefix}-{index:04}", vector, {"number": index, "colour": ("red", "green", "blue")[index % 3]})
        for index, vector in enumerate(unit_vectors(count, seed=seed))
    ]


async def all_ids(
    store: VectorStore, where: Filter | None = None, *, page: int = 100, partition: Partition = IMAGES
) -> list[str]:
    """Ids of every item of ``partition`` in the order of ``scroll``."""
    found: list[str] = []
    cursor = None
    while True:
        part = await store.scroll(partition, limit=page, cursor=cursor, where=where)
        assert len(part.items) <= page
        found += [item.id for item in part.items]
        if (cursor := part.next_cursor) is None:
            return found


async def disagreements(
    store: VectorStore,
    held: Sequence[Point],
    where: Filter,
    meaning: Callable[[Filter, Metadata], bool] = matches,
) -> list[dict[str, Any]]:
    """Each way in which ``store``, holding exactly ``held``, answers ``where`` differently from ``meaning``."""
    expected = sorted(entry.item.id for entry in held if meaning(where, entry.item.metadata))
    hits = await store.search(IMAGES, axis(0), limit=len(held) + 1, where=where)
    answers: dict[str, object] = {
        "search": sorted(hit.item.id for hit in hits),
        "scroll": sorted(await all_ids(store, where)),
    }
    wrong = [
        {"method": name, "got": got, "expected": expected, "where": where}
        for name, got in answers.items()
        if got != expected
    ]
    if (counted := await store.count(IMAGES, where=where)) != len(expected):
        wrong.append({"method": "count", "got": counted, "expected": len(expected), "where": where})
    return wrong


STATISTICS: Statistics = {
    "text-image": PairStatistics(midpoint=0.25, slope=80.0, mean=0.11, std=0.03),
    "image-image": PairStatistics(midpoint=0.8, slope=12.5, mean=0.45, std=0.09),
}
