"""Writers at one time write together, and each as if it were alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from crossmodal.errors import StoreUnavailable
from crossmodal.records import Modality, Partition, Point
from crossmodal.search.committing import MOST_POINTS, Committer
from crossmodal.store.base import CollectionSpec
from crossmodal.store.exact import ExactStore
from tests.builders import item, unit

IMAGES = Partition("acme", Modality.IMAGE)
OTHERS = Partition("other", Modality.IMAGE)


class CountingStore(ExactStore):
    """Notes the ids of each write, and lets others come meanwhile; away on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[list[str]] = []
        self.away = False

    async def upsert(self, partition: Partition, points: Sequence[Point]) -> None:
        await asyncio.sleep(0.01)
        if self.away:
            raise StoreUnavailable("away")
        await super().upsert(partition, points)
        self.written.append([point.item.id for point in points])


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    store = CountingStore()
    await store.open(CollectionSpec(3, "model"))
    yield store
    await store.close()


def point(item_id: str, version: int = 0) -> Point:
    return Point(item(item_id, metadata={"v": version}), unit(1, version, 0))


async def test_writers_that_wait_write_together(store: CountingStore) -> None:
    committer = Committer(store)
    pairs = await asyncio.gather(*(committer.write(IMAGES, [point(f"p{number}")]) for number in range(20)))
    assert store.written == [["p0"], [f"p{number}" for number in range(1, 20)]]
    assert [[(new.item.id, before) for new, before in each] for each in pairs] == [
        [(f"p{number}", None)] for number in range(20)
    ]
    assert all(await store.fetch(IMAGES, [f"p{number}" for number in range(20)]))


async def test_what_is_stored_just_so_is_not_written_again(store: CountingStore) -> None:
    committer = Committer(store)
    await committer.write(IMAGES, [point("a"), point("b")])
    [(_, before), (_, none)] = await committer.write(IMAGES, [point("a"), point("c")])
    assert before is not None
    assert none is None
    assert store.written == [["a", "b"], ["c"]]


async def test_writers_of_one_item_keep_their_order_and_hold_nobody_else_up(store: CountingStore) -> None:
    committer = Committer(store)
    jobs = [[point("x")], [point("a", 1)], [point("a", 2), point("b")], [point("b", 1), point("c")], [point("d")]]
    pairs = await asyncio.gather(*(committer.write(IMAGES, job) for job in jobs))
    # "b", 1 may not overtake the first "b", which waits for the first "a".
    assert store.written == [["x"], ["a", "d"], ["a", "b"], ["b", "c"]]
    (_, before_a), (_, before_b) = pairs[2]
    assert before_a is not None
    assert before_a.item.metadata == {"v": 1}
    assert before_b is None
    stored = await store.fetch(IMAGES, ["a", "b"])
    assert [each.item.metadata for each in stored if each is not None] == [{"v": 2}, {"v": 1}]


async def test_partitions_are_written_apart(store: CountingStore) -> None:
    committer = Committer(store)
    where = [IMAGES, IMAGES, OTHERS, IMAGES, OTHERS]
    await asyncio.gather(*(committer.write(each, [point(f"p{place}")]) for place, each in enumerate(where)))
    assert store.written == [["p0"], ["p1", "p3"], ["p2", "p4"]]
    assert await store.fetch(OTHERS, ["p1", "p3"]) == [None, None]


async def test_a_group_has_a_limit_and_a_large_writer_none(store: CountingStore) -> None:
    committer = Committer(store)
    large = [point(f"large{number}") for number in range(MOST_POINTS + 5)]
    writers = [[point("first")], large, *([point(f"p{number}")] for number in range(MOST_POINTS + 2))]
    await asyncio.gather(*(committer.write(IMAGES, each) for each in writers))
    assert [len(each) for each in store.written] == [1, MOST_POINTS + 5, MOST_POINTS, 2]


async def test_a_fault_costs_who_brought_it(store: CountingStore) -> None:
    committer = Committer(store)
    bad = Point(item("bad"), unit(1, 0, 0) * 2)
    outcomes = await asyncio.gather(
        *(committer.write(IMAGES, [each]) for each in (point("first"), point("a"), bad, point("b"))),
        return_exceptions=True,
    )
    assert isinstance(outcomes[2], ValueError)
    assert [type(each) for place, each in enumerate(outcomes) if place != 2] == [list] * 3
    assert [each is None for each in await store.fetch(IMAGES, ["first", "a", "bad", "b"])] == [
        False,
        False,
        True,
        False,
    ]


async def test_a_store_that_is_away_costs_all_of_them_and_is_asked_again(store: CountingStore) -> None:
    committer = Committer(store)
    store.away = True
    outcomes = await asyncio.gather(*(committer.write(IMAGES, [point(name)]) for name in "abc"), return_exceptions=True)
    assert [type(each) for each in outcomes] == [StoreUnavailable] * 3
    store.away = False
    await committer.write(IMAGES, [point("a")])
    assert store.written == [["a"]]


async def test_who_is_cancelled_while_waiting_holds_nobody_up(store: CountingStore) -> None:
    committer = Committer(store)
    first, left, last = (asyncio.create_task(committer.write(IMAGES, [point("a", version)])) for version in range(3))
    await asyncio.sleep(0)
    left.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(first, last)
    assert left.cancelled()
    (stored,) = await store.fetch(IMAGES, ["a"])
    assert stored is not None
    assert stored.item.metadata == {"v": 2}
