"""What belongs to one tenant is not there for another, in every store."""

import numpy as np
import pytest
from qdrant_client import models

from crossmodal.errors import StoreUnavailable, ValidationFailed
from crossmodal.records import Modality, Partition, Point
from crossmodal.store.base import VectorStore
from crossmodal.store.filters import parse_filter
from crossmodal.store.payload import TENANT, point_id, to_payload
from crossmodal.store.qdrant import QdrantStore
from tests.contract.fake_server import FakeServer
from tests.contract.isolation import ACME, GLOBEX, by_tenant, interleaved, leaks
from tests.contract.material import SPEC, all_ids, axis, point, points, unit_vectors
from tests.fakes import ForgetfulStore


async def test_the_same_id_in_two_tenants_is_two_items(store: VectorStore) -> None:
    ours, theirs = point("same", axis(0), {"of": "acme"}), point("same", axis(1), {"of": "globex"}, content="other")
    await store.upsert(ACME, [ours])
    await store.upsert(GLOBEX, [theirs])
    for partition, own in ((ACME, ours), (GLOBEX, theirs)):
        [found] = await store.fetch(partition, ["same"], with_embeddings=True)
        assert found is not None
        assert found.item == own.item
        np.testing.assert_allclose(found.embedding, own.embedding, atol=1e-6)
        assert [hit.item for hit in await store.search(partition, axis(0), limit=9)] == [own.item]
        assert (await store.scroll(partition, limit=9)).items == [own.item]
        assert await store.count(partition) == 1
    assert await store.count(ACME, content_hash=theirs.item.content_hash) == 0


async def test_deleting_is_within_the_tenant(store: VectorStore) -> None:
    for partition in (ACME, GLOBEX):
        await store.upsert(partition, [point("same", axis(0)), point(partition.tenant, axis(1))])
    await store.delete(ACME, ["same", "globex"])
    assert await all_ids(store, partition=ACME) == ["acme"]
    assert sorted(await all_ids(store, partition=GLOBEX)) == ["globex", "same"]


async def test_replacing_is_within_the_tenant(store: VectorStore) -> None:
    await store.upsert(ACME, [point("same", axis(0), {"v": 1})])
    await store.upsert(GLOBEX, [point("same", axis(0), {"v": 2})])
    await store.upsert(ACME, [point("same", axis(0), {"v": 3})])
    found = [(await store.fetch(partition, ["same"]))[0] for partition in (ACME, GLOBEX)]
    assert [entry and entry.item.metadata["v"] for entry in found] == [3, 2]


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_answer_is_that_of_a_store_for_the_tenant_alone(store: VectorStore, seed: int) -> None:
    written = interleaved(60, seed)
    for partition, entry in written:
        await store.upsert(partition, [entry])
    held = by_tenant(written)
    assert len(held) == 3
    assert await leaks(store, held, unit_vectors(1, seed=seed + 100)) == set()
    gone = [entry.item.id for entry in held[ACME][::2]]
    await store.delete(ACME, gone)  # some of these ids are others' too
    held[ACME] = held[ACME][1::2]
    assert await leaks(store, held, unit_vectors(1, seed=seed + 200)) == set()


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"not": {"x": 1}},
        {"not": {"not": {"x": 1}}},
        {"or": [{"x": 1}, {"not": {"x": 1}}]},
        {"or": [{"tenant": "globex"}, {"not": {"tenant": "globex"}}]},
        {"not": {"tenant": "acme"}},
        {"tenant": "globex"},
        {"metadata": {"any": ["x"]}},
        {"not": {"and": [{"x": 1}, {"x": 2}]}},
    ],
)
async def test_no_filter_widens_beyond_the_tenant(store: VectorStore, written: object) -> None:
    await store.upsert(ACME, [point("ours", axis(0), {"x": 1, "tenant": "globex"})])
    await store.upsert(GLOBEX, [point(f"theirs-{x}", axis(x), {"x": x, "tenant": "acme"}) for x in range(4)])
    where = parse_filter(written)
    expected = await all_ids(store, where, partition=ACME)
    assert set(expected) <= {"ours"}
    assert [hit.item.id for hit in await store.search(ACME, axis(0), limit=9, where=where)] == expected
    assert await store.count(ACME, where=where) == len(expected)


async def test_a_tenant_that_holds_nothing_sees_nothing(store: VectorStore) -> None:
    await store.upsert(ACME, points(5))
    for stranger in ("", "acm", "acme2", "ACME", "acme\x00", "*", "item-0000"):
        partition = Partition(stranger, Modality.IMAGE)
        assert await all_ids(store, partition=partition) == []
        assert await store.search(partition, axis(0), limit=9) == []
        assert await store.fetch(partition, ["item-0000"]) == [None]
        assert await store.count(partition) == 0


CRAFTED = [
    ("a", "b/c"),
    ("a/b", "c"),
    ("a", "b:c"),
    ("a:b", "c"),
    ("a", "b\x00c"),
    ("a\x00b", "c"),
    ("a\x00", "bc"),
    ("", "abc"),
    ("abc", ""),
    ("1:a", "b"),
    ("1", ":ab"),
    ("a", "6d0b8a3c-52f4-5c1e-9d53-0f2f0d1b7a44"),
    ("6d0b8a3c-52f4-5c1e-9d53-0f2f0d1b7a44", "a"),
]


async def test_crafted_ids_do_not_collide(store: VectorStore) -> None:
    for tenant, item_id in CRAFTED:
        await store.upsert(Partition(tenant, Modality.IMAGE), [point(item_id, axis(0), {"of": tenant})])
    for tenant in {tenant for tenant, _ in CRAFTED}:
        partition = Partition(tenant, Modality.IMAGE)
        page = await store.scroll(partition, limit=99)
        assert {(item.metadata["of"], item.id) for item in page.items} == {
            pair for pair in CRAFTED if pair[0] == tenant
        }


async def test_a_cursor_is_of_no_use_to_another_tenant(store: VectorStore) -> None:
    for partition in (ACME, GLOBEX):
        await store.upsert(partition, points(6))
    cursor = (await store.scroll(ACME, limit=2)).next_cursor
    assert cursor is not None
    refusals = []
    for given in (cursor, "A" * 28):
        with pytest.raises(ValidationFailed) as refused:
            await store.scroll(GLOBEX, limit=2, cursor=given)
        refusals.append((refused.value.detail, refused.value.loc))
    assert refusals[0] == refusals[1]  # nothing tells a stranger's cursor from garbage
    assert len((await store.scroll(ACME, limit=2, cursor=cursor)).items) == 2


async def test_the_check_sees_a_store_that_forgets_the_tenant() -> None:
    store = ForgetfulStore()
    await store.open(SPEC)
    written = interleaved(40, seed=4)
    for partition, entry in written:
        await store.upsert(partition, [entry])
    found = await leaks(store, by_tenant(written), unit_vectors(1, seed=5))
    assert found == {"fetch", "search", "rank", "scroll", "count"}


async def a_server_whose_engine_forgets() -> tuple[FakeServer, QdrantStore, list[tuple[Partition, Point]]]:
    server = FakeServer()
    store = QdrantStore(server.connect)
    await store.open(SPEC)
    written = interleaved(40, seed=4)
    for partition, entry in written:
        await store.upsert(partition, [entry])
    server.drops.add(TENANT)
    return server, store, written


@pytest.mark.filterwarnings("ignore:.*no effect")
async def test_what_an_engine_lets_through_is_not_passed_on() -> None:
    server, store, written = await a_server_whose_engine_forgets()
    assert await store.count(ACME) == sum(map(len, by_tenant(written).values()))  # so the condition is what counts
    with pytest.raises(StoreUnavailable, match="not asked for"):
        await store.search(ACME, axis(0), limit=40)
    with pytest.raises(StoreUnavailable, match="not asked for"):
        await store.scroll(ACME, limit=40)
    keys = [each.key for each in await store.rank(ACME, axis(0), limit=40)]
    taken = [each.item.id for each in await store.take(ACME, keys) if each is not None]
    assert len(taken) < len(keys)
    assert set(taken) == {each.item.id for each in by_tenant(written)[ACME]}
    server.drops.clear()
    assert await leaks(store, by_tenant(written), unit_vectors(1, seed=5)) == set()
    await store.close()


@pytest.mark.filterwarnings("ignore:.*no effect")
async def test_a_point_in_a_foreign_place_is_not_found() -> None:
    server = FakeServer()
    store = QdrantStore(server.connect)
    await store.open(SPEC)
    client = server.connect()
    misplaced = to_payload("globex", point("theirs", axis(0)).item)
    struct = models.PointStruct(id=point_id("acme", "theirs"), vector=axis(0).tolist(), payload=misplaced)
    await client.upsert("crossmodal_images", [struct])
    assert await store.fetch(ACME, ["theirs"]) == [None]
    await client.close()
    await store.close()
