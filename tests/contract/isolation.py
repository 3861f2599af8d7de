"""What one tenant may learn of a store that many share, compared with a store that holds its items alone."""

from collections.abc import Mapping, Sequence

import numpy as np

from crossmodal.records import Embedding, Embeddings, MetadataValue, Modality, Partition, Point
from crossmodal.store.base import VectorStore
from crossmodal.store.exact import ExactStore
from crossmodal.store.filters import And, AnyOf, Equals, Filter, Not, Or, Range
from tests.contract.material import SPEC, all_ids, point, unit_vectors

ACME = Partition("acme", Modality.IMAGE)
GLOBEX = Partition("globex", Modality.IMAGE)
INITECH = Partition("initech", Modality.IMAGE)

Held = Mapping[Partition, Sequence[Point]]

FILTERS: tuple[Filter | None, ...] = (
    None,
    And(()),
    Or(()),
    Not(Or(())),
    Not(Equals("x", 1)),
    Not(Not(Equals("x", 1))),
    Not(And(())),
    Equals("x", 1),
    Equals("tenant", "globex"),
    Not(Equals("tenant", "acme")),
    AnyOf("x", (0, 1, 2)),
    Range("x", gte=1),
    Or((Equals("x", 1), Not(Equals("x", 1)))),
    Or((Equals("tenant", "acme"), Equals("tenant", "globex"), Range("x", lt=2))),
    And((Not(Equals("x", 0)), Or((Range("x", gt=0), Not(Range("x", gt=0)))))),
)


def interleaved(count: int, seed: int) -> list[tuple[Partition, Point]]:
    """``count`` random points in random order, each of one of three tenants.

    The tenants share some ids and some contents, and say in their metadata that they are each other.
    """
    random = np.random.default_rng(seed)
    tenants = (ACME, GLOBEX, INITECH)
    made: list[tuple[Partition, Point]] = []
    for number, embedding in enumerate(unit_vectors(count, seed=seed)):
        partition = tenants[int(random.integers(len(tenants)))]
        shared = bool(random.integers(2))
        item_id = f"item-{int(random.integers(count // 2)):03}" if shared else f"own-{number:03}"
        metadata: dict[str, MetadataValue] = {
            "x": int(random.integers(4)),
            "tenant": tenants[int(random.integers(3))].tenant,
        }
        made.append((partition, point(item_id, embedding, metadata, content=f"content-{number % 7}")))
    return made


def by_tenant(written: Sequence[tuple[Partition, Point]]) -> dict[Partition, list[Point]]:
    """What each tenant holds in the end: of one id written twice the last."""
    held: dict[Partition, dict[str, Point]] = {}
    for partition, entry in written:
        held.setdefault(partition, {})[entry.item.id] = entry
    return {partition: list(entries.values()) for partition, entries in held.items()}


async def leaks(store: VectorStore, held: Held, queries: Embeddings) -> set[str]:
    """The methods by which ``store``, in which each partition holds ``held``, answers one as if others were there."""
    wrong: set[str] = set()
    everything = sum(map(len, held.values())) + 1
    for partition, own in held.items():
        alone = ExactStore()
        await alone.open(SPEC)
        await alone.upsert(partition, own)
        for where in FILTERS:
            for query in queries:
                wrong |= await _search_leaks(store, alone, partition, query, everything, where)
            if await _pages(store, partition, where) != await _pages(alone, partition, where):
                wrong.add("scroll")
            wrong |= await _scan_leaks(store, alone, partition, where)
            if await store.count(partition, where=where) != await alone.count(partition, where=where):
                wrong.add("count")
        wrong |= await _fetch_leaks(store, alone, partition, held)
        await alone.close()
    return wrong


async def _search_leaks(
    store: VectorStore, alone: VectorStore, partition: Partition, query: Embedding, limit: int, where: Filter | None
) -> set[str]:
    digest = point("any", query, content="content-1").item.content_hash
    wrong: set[str] = set()
    for left_out in ((), (digest,)):
        expected = await alone.search(partition, query, limit=limit, where=where, without_contents=left_out)
        if await _ranked(store, partition, query, limit, where, left_out) != [hit.item.id for hit in expected]:
            wrong.add("rank")
        got = await store.search(partition, query, limit=limit, where=where, without_contents=left_out)
        if [hit.item for hit in got] != [hit.item for hit in expected]:
            return wrong | {"search"}
        np.testing.assert_allclose([hit.score for hit in got], [hit.score for hit in expected], atol=1e-5)
    page = await store.search(partition, query, limit=3, offset=2, where=where)
    expected = await alone.search(partition, query, limit=3, offset=2, where=where)
    return wrong if [hit.item for hit in page] == [hit.item for hit in expected] else wrong | {"search"}


async def _ranked(
    store: VectorStore,
    partition: Partition,
    query: Embedding,
    limit: int,
    where: Filter | None,
    left_out: Sequence[str],
) -> list[str | None]:
    """Ids by rank, None for a key that is of no use."""
    ranked = await store.rank(partition, query, limit=limit, where=where, without_contents=left_out)
    taken = await store.take(partition, [each.key for each in ranked])
    return [None if point is None else point.item.id for point in taken]


async def _fetch_leaks(store: VectorStore, alone: VectorStore, partition: Partition, held: Held) -> set[str]:
    wrong: set[str] = set()
    points = [entry for entries in held.values() for entry in entries]
    ids = sorted({entry.item.id for entry in points})
    got, expected = await store.fetch(partition, ids), await alone.fetch(partition, ids)
    if [entry and entry.item for entry in got] != [entry and entry.item for entry in expected]:
        wrong.add("fetch")
    for digest in {entry.item.content_hash for entry in points}:
        if await store.count(partition, content_hash=digest) != await alone.count(partition, content_hash=digest):
            wrong.add("count")
    return wrong


async def _pages(store: VectorStore, partition: Partition, where: Filter | None) -> list[str]:
    return await all_ids(store, where, page=9, partition=partition)


async def _scan_leaks(store: VectorStore, alone: VectorStore, partition: Partition, where: Filter | None) -> set[str]:
    pages = [await each.scroll(partition, limit=99, where=where, with_embeddings=True) for each in (store, alone)]
    got, expected = pages
    if got.items != expected.items or got.embeddings is None or expected.embeddings is None:
        return {"scroll"}
    np.testing.assert_allclose(got.embeddings, expected.embeddings, atol=1e-5)
    return set()
