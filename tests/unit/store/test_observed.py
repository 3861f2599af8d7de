"""The store before another one: each use is told of once. The contract suite checks that it is a store like any other."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from crossmodal.errors import StoreUnavailable
from crossmodal.records import DEFAULT_TENANT, Modality, Partition, Point
from crossmodal.statistics import PAIRS
from crossmodal.store.base import CollectionSpec
from crossmodal.store.exact import ExactStore
from crossmodal.store.observed import ObservedStore
from crossmodal.telemetry import STORE_OPERATIONS
from tests.builders import item
from tests.fakes import CURVE

IMAGES = Partition(DEFAULT_TENANT, Modality.IMAGE)
ROW = np.array([1.0, 0.0], dtype=np.float32)


class Watch:
    """Notes every use, and what became of it."""

    def __init__(self) -> None:
        self.uses: list[tuple[str, str, int]] = []
        self.failed: list[str] = []

    @contextmanager
    def __call__(self, store: str, operation: str, items: int) -> Iterator[None]:
        self.uses.append((store, operation, items))
        try:
            yield
        except Exception as error:
            self.failed.append(type(error).__name__)
            raise


async def test_each_use_is_told_of_once_with_what_it_is_about() -> None:
    watch = Watch()
    store = ObservedStore(ExactStore(), watch)
    await store.open(CollectionSpec(2, "f"))
    await store.upsert(IMAGES, [Point(item("a"), ROW), Point(item("b"), ROW)])
    assert [hit.item.id for hit in await store.search(IMAGES, ROW, limit=7)] == ["a", "b"]
    await store.fetch(IMAGES, ["a"])
    await store.scroll(IMAGES, limit=5)
    assert await store.count(IMAGES) == 2
    await store.delete(IMAGES, ["a", "b", "c"])
    assert watch.uses == [
        ("memory", "upsert", 2),
        ("memory", "search", 7),
        ("memory", "fetch", 1),
        ("memory", "scroll", 5),
        ("memory", "count", 0),
        ("memory", "delete", 3),
    ]
    assert {operation for _, operation, _ in watch.uses} == set(STORE_OPERATIONS)
    assert watch.failed == []


async def test_what_fails_is_seen_failing_and_probes_are_no_use() -> None:
    watch = Watch()
    store = ObservedStore(ExactStore(), watch)
    with pytest.raises(StoreUnavailable):
        await store.ping()
    assert watch.uses == []
    with pytest.raises(StoreUnavailable):
        await store.count(IMAGES)
    assert watch.failed == ["StoreUnavailable"]


async def test_statistics_are_those_of_the_store_behind() -> None:
    behind = ExactStore()
    store = ObservedStore(behind, Watch())
    await store.open(CollectionSpec(2, "f"))
    kept = dict.fromkeys(PAIRS, CURVE)
    await store.keep_statistics(kept)
    assert store.statistics == behind.statistics == kept
    assert store.name == behind.name == "memory"
