"""What the port promises, of every store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from crossmodal.errors import FingerprintMismatch, StoreUnavailable, ValidationFailed
from crossmodal.records import MetadataValue, Modality, Partition
from crossmodal.store.base import CollectionSpec, Key, VectorStore
from crossmodal.store.exact import ExactStore
from crossmodal.store.filters import Equals, Range
from crossmodal.store.payload import point_uuid
from tests.contract.material import (
    DIM,
    IMAGES,
    SETTINGS,
    SPEC,
    STATISTICS,
    TEXTS,
    all_ids,
    axis,
    point,
    points,
    unit_vectors,
)


@pytest.fixture
async def oracle() -> AsyncIterator[ExactStore]:
    exact = ExactStore()
    await exact.open(SPEC)
    yield exact
    await exact.close()


async def test_empty_store_answers_empty(store: VectorStore) -> None:
    assert await store.search(IMAGES, axis(0), limit=5) == []
    assert await store.fetch(IMAGES, ["nobody"]) == [None]
    assert await store.count(IMAGES) == 0
    page = await store.scroll(IMAGES, limit=5)
    assert (page.items, page.next_cursor) == ([], None)
    await store.upsert(IMAGES, [])
    await store.delete(IMAGES, [])
    await store.ping()


async def test_items_round_trip_exactly(store: VectorStore) -> None:
    metadata: dict[str, MetadataValue] = {
        "text": "naïve 日本語 🎈 \x00 \"quoted\" 'and' \\",
        "true": True,
        "one": 1,
        "one as float": 1.0,
        "float": 0.1 + 0.2,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "largest": 2**63 - 1,
        "smallest": -(2**63),
        "none": None,
        "empty": "",
        "empty list": [],
        "list": [1, 1.5, "one", True, False],
    }
    image = point("é/ü id?", axis(1), metadata, created_at=datetime(2021, 2, 3, 4, 5, 6, 7, tzinfo=UTC))
    text = point("text", axis(2), modality=Modality.TEXT, text="a line\nand another é")
    await store.upsert(IMAGES, [image])
    await store.upsert(TEXTS, [text])
    [found] = await store.fetch(IMAGES, ["é/ü id?"], with_embeddings=True)
    assert found is not None
    assert found.item == image.item
    assert {key: repr(value) for key, value in found.item.metadata.items()} == {
        key: repr(value) for key, value in metadata.items()
    }
    np.testing.assert_allclose(found.embedding, axis(1), atol=1e-6)
    assert found.embedding.dtype == np.float32
    [found_text] = await store.fetch(TEXTS, ["text"])
    assert found_text is not None
    assert found_text.item == text.item
    assert found_text.embedding.shape == (0,)
    [hit] = await store.search(TEXTS, axis(2), limit=1)
    assert hit.item == text.item
    assert (await store.scroll(TEXTS, limit=1)).items == [text.item]
    split = replace(text, item=replace(text.item, long_text="split"))
    await store.upsert(TEXTS, [split])
    assert (await store.scroll(TEXTS, limit=1)).items == [split.item]


async def test_created_at_keeps_its_instant_in_any_zone(store: VectorStore) -> None:
    east = datetime(2024, 1, 1, 0, 30, 0, 999999, tzinfo=timezone(timedelta(hours=9, minutes=30)))
    await store.upsert(IMAGES, [point("east", axis(0), created_at=east)])
    [found] = await store.fetch(IMAGES, ["east"])
    assert found is not None
    assert found.item.created_at == east
    assert found.item.created_at.tzinfo is not None


async def test_fetch_keeps_the_order_asked(store: VectorStore) -> None:
    await store.upsert(IMAGES, points(5))
    found = await store.fetch(IMAGES, ["item-0003", "nobody", "item-0000", "item-0003"])
    assert [entry and entry.item.id for entry in found] == ["item-0003", None, "item-0000", "item-0003"]


async def test_modalities_are_apart(store: VectorStore) -> None:
    await store.upsert(IMAGES, [point("same", axis(0))])
    await store.upsert(TEXTS, [point("same", axis(1), modality=Modality.TEXT, text="words")])
    await store.delete(IMAGES, ["same"])
    assert await store.count(IMAGES) == 0
    assert [hit.item.text for hit in await store.search(TEXTS, axis(1), limit=5)] == ["words"]


async def test_upsert_replaces_by_id(store: VectorStore) -> None:
    await store.upsert(IMAGES, [point("one", axis(0), {"old": True, "both": 1})])
    await store.upsert(IMAGES, [point("one", axis(1), {"new": True, "both": 2}, content="other")])
    assert await store.count(IMAGES) == 1
    [hit] = await store.search(IMAGES, axis(1), limit=5)
    assert hit.score == pytest.approx(1.0, abs=1e-5)
    assert dict(hit.item.metadata) == {"new": True, "both": 2}
    assert await store.count(IMAGES, where=Equals("old", value=True)) == 0
    assert await store.count(IMAGES, where=Equals("both", 1)) == 0
    assert await store.count(IMAGES, where=Equals("both", 2)) == 1


async def test_of_one_id_given_twice_the_last_stays(store: VectorStore) -> None:
    await store.upsert(IMAGES, [point("one", axis(0), {"n": 1}), point("one", axis(1), {"n": 2})])
    assert await store.count(IMAGES) == 1
    [found] = await store.fetch(IMAGES, ["one"], with_embeddings=True)
    assert found is not None
    assert dict(found.item.metadata) == {"n": 2}
    np.testing.assert_allclose(found.embedding, axis(1), atol=1e-6)


async def test_deleted_is_never_found_again(store: VectorStore) -> None:
    held = points(20)
    await store.upsert(IMAGES, held)
    gone = held[7]
    await store.delete(IMAGES, [gone.item.id, "never was"])
    assert await store.fetch(IMAGES, [gone.item.id]) == [None]
    assert gone.item.id not in {hit.item.id for hit in await store.search(IMAGES, gone.embedding, limit=100)}
    assert gone.item.id not in await all_ids(store)
    assert await store.count(IMAGES) == 19
    assert await store.count(IMAGES, content_hash=gone.item.content_hash) == 0
    assert await store.count(IMAGES, where=Equals("number", 7)) == 0
    await store.delete(IMAGES, [gone.item.id])
    await store.upsert(IMAGES, [gone])
    assert await store.count(IMAGES) == 20


async def test_search_equals_the_oracle(store: VectorStore, oracle: ExactStore) -> None:
    held = points(500)
    for kept in (store, oracle):
        await kept.upsert(IMAGES, held)
    for query in unit_vectors(20, seed=1):
        got = await store.search(IMAGES, query, limit=10)
        expected = await oracle.search(IMAGES, query, limit=10)
        assert [hit.item for hit in got] == [hit.item for hit in expected]
        np.testing.assert_allclose([hit.score for hit in got], [hit.score for hit in expected], atol=1e-5)
        assert all(hit.embedding is None for hit in got)


async def test_scores_are_cosines(store: VectorStore) -> None:
    slanted = (axis(0) + axis(1)) / np.float32(np.sqrt(2))
    await store.upsert(IMAGES, [point("same", axis(0)), point("slanted", slanted), point("opposite", -axis(0))])
    hits = await store.search(IMAGES, axis(0), limit=3, with_embeddings=True)
    assert [hit.item.id for hit in hits] == ["same", "slanted", "opposite"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 2**-0.5, -1.0], abs=1e-5)
    for hit, expected in zip(hits, (axis(0), slanted, -axis(0)), strict=True):
        assert hit.embedding is not None
        np.testing.assert_allclose(hit.embedding, expected, atol=1e-6)


async def ranked_keys(store: VectorStore, partition: Partition = IMAGES) -> dict[str, Key]:
    """The key of each item of a partition, by id."""
    keys = [each.key for each in await store.rank(partition, axis(0), limit=10_000)]
    found = await store.take(partition, keys)
    return {each.item.id: key for each, key in zip(found, keys, strict=True) if each is not None}


async def test_a_ranking_is_a_search_without_the_items(store: VectorStore) -> None:
    held = points(300)
    await store.upsert(IMAGES, held)
    gone = held[3].item.content_hash
    for query in unit_vectors(5, seed=4):
        for where in (None, Equals("colour", "red")):
            hits = await store.search(IMAGES, query, limit=90, where=where, without_contents={gone})
            ranked = await store.rank(IMAGES, query, limit=90, where=where, without_contents={gone}, exact=True)
            taken = await store.take(IMAGES, [each.key for each in ranked], with_embeddings=True)
            assert [each and each.item.id for each in taken] == [hit.item.id for hit in hits]
            assert [each.score for each in ranked] == pytest.approx([hit.score for hit in hits], abs=1e-6)
            embeddings = np.stack([each.embedding for each in taken if each is not None])
            np.testing.assert_allclose(embeddings @ query, [each.score for each in ranked], atol=1e-5)


async def test_a_ranking_does_not_cut_equals(store: VectorStore) -> None:
    twins = [point(f"twin-{index:02}", axis(0), content="same") for index in range(24)]
    await store.upsert(IMAGES, [*twins, *(point(f"better-{axis}", row) for axis, row in enumerate(unit_vectors(9)))])
    query = unit_vectors(9)[3]
    whole = await store.rank(IMAGES, query, limit=100)
    assert [each.score for each in whole] == sorted((each.score for each in whole), reverse=True)
    scores = [each.score for each in whole]
    for limit in range(1, 34):
        found = await store.rank(IMAGES, query, limit=limit)
        assert {each.key for each in found} == {each.key for each in whole if each.score >= scores[limit - 1]}
    assert len({len(await store.rank(IMAGES, query, limit=limit)) for limit in range(1, 34)}) == 10


async def test_items_are_taken_by_key_in_the_order_asked(store: VectorStore) -> None:
    held = points(100)
    await store.upsert(IMAGES, held)
    keys = await ranked_keys(store)
    ids = [each.item.id for each in held[80::-1]]
    for some in (ids, ids[:5], []):
        taken = await store.take(IMAGES, [keys[each] for each in some])
        assert [each and each.item.id for each in taken] == some
        assert all(each is not None and each.embedding.size == 0 for each in taken)
    await store.delete(IMAGES, [ids[1]])
    taken = await store.take(IMAGES, [keys[each] for each in ids[:3]])
    assert [each and each.item.id for each in taken] == [ids[0], None, ids[2]]


async def test_cosines_of_items_with_several_queries(store: VectorStore) -> None:
    held = points(300)
    await store.upsert(IMAGES, held)
    await store.upsert(TEXTS, [point(held[0].item.id, axis(1), modality=Modality.TEXT)])
    keys = await ranked_keys(store)
    await store.delete(IMAGES, [held[20].item.id])
    queries = [*unit_vectors(2, seed=5), held[7].embedding]
    ids = [held[7].item.id, held[20].item.id, *(each.item.id for each in held[250:100:-1])]
    found = await store.cosines(IMAGES, [keys[each] for each in ids], queries)
    assert found.shape == (len(ids), 3)
    assert found.dtype == np.float32
    assert np.isnan(found[1]).all()
    embeddings = np.stack([held[7].embedding, *(each.embedding for each in held[250:100:-1])])
    np.testing.assert_allclose(np.delete(found, 1, axis=0), embeddings @ np.stack(queries).T, atol=1e-5)
    assert found[0, 2] <= 1.0
    assert (await store.cosines(IMAGES, [], queries)).shape == (0, 3)
    assert (await store.cosines(IMAGES, list(keys.values())[:9], [])).shape == (9, 0)


async def test_keys_are_of_use_in_their_own_partition_alone(store: VectorStore) -> None:
    await store.upsert(IMAGES, [point("one", axis(0))])
    other = Partition("other", Modality.IMAGE)
    await store.upsert(other, [point("two", axis(1))])
    [own], [others] = await store.rank(IMAGES, axis(0), limit=5), await store.rank(other, axis(0), limit=5)
    for partition, key in ((other, own.key), (IMAGES, others.key)):
        assert np.isnan(await store.cosines(partition, [key], [axis(0)])).all()
        assert await store.take(partition, [key], with_embeddings=True) == [None]
    assert (await store.cosines(other, [others.key], [axis(0)])).item() == pytest.approx(0.0, abs=1e-6)
    assert (await store.cosines(IMAGES, [own.key], [axis(0)])).item() == pytest.approx(1.0, abs=1e-6)


async def test_an_exact_search_compares_every_item(store: VectorStore, oracle: ExactStore) -> None:
    held = points(300)
    await store.upsert(IMAGES, held)
    await oracle.upsert(IMAGES, held)
    for query in unit_vectors(5, seed=3):
        for where in (None, Equals("colour", "red")):
            expected = [hit.item.id for hit in await oracle.search(IMAGES, query, limit=20, where=where)]
            found = await store.search(IMAGES, query, limit=20, where=where, exact=True)
            assert [hit.item.id for hit in found] == expected


async def test_scores_stay_within_one(store: VectorStore) -> None:
    held = points(60)
    await store.upsert(IMAGES, held)
    for entry in held:
        [best] = await store.search(IMAGES, entry.embedding, limit=1)
        [worst] = await store.search(IMAGES, -entry.embedding, limit=1, offset=59)
        assert best.item.id == worst.item.id == entry.item.id
        assert -1.0 <= worst.score < -0.9999
        assert 0.9999 < best.score <= 1.0


async def test_offset_and_limit_cut_one_ranking(store: VectorStore) -> None:
    await store.upsert(IMAGES, points(30))
    query = unit_vectors(1, seed=2)[0]
    whole = [hit.item.id for hit in await store.search(IMAGES, query, limit=100)]
    assert len(whole) == 30
    for offset in range(0, 30, 7):
        page = await store.search(IMAGES, query, limit=7, offset=offset)
        assert [hit.item.id for hit in page] == whole[offset : offset + 7]
    assert await store.search(IMAGES, query, limit=5, offset=30) == []


async def test_equal_scores_are_ordered_by_id_across_pages(store: VectorStore) -> None:
    twins = [point(f"twin-{index:02}", axis(0), content="same") for index in range(24)]
    await store.upsert(IMAGES, [*reversed(twins), point("better", unit_vectors(1)[0])])
    pages = [await store.search(IMAGES, axis(0), limit=5, offset=offset) for offset in range(0, 24, 5)]
    assert [hit.item.id for page in pages for hit in page][:24] == [entry.item.id for entry in twins]


async def test_without_content_leaves_every_copy_out(store: VectorStore) -> None:
    copies = [point(name, axis(0), content="same bytes") for name in ("original", "copy")]
    await store.upsert(IMAGES, [*copies, point("other", axis(1), {"kind": "x"})])
    digest = copies[0].item.content_hash
    hits = await store.search(IMAGES, axis(0), limit=5, without_contents={digest})
    assert [hit.item.id for hit in hits] == ["other"]
    assert await store.search(IMAGES, axis(0), limit=5, without_contents={digest}, where=Equals("kind", "y")) == []
    assert len(await store.search(IMAGES, axis(0), limit=5, without_contents={"0" * 64})) == 3


async def test_count_by_content_and_filter(store: VectorStore) -> None:
    await store.upsert(
        IMAGES, [point(f"p{index}", axis(index), {"n": index}, content=str(index % 2)) for index in range(6)]
    )
    digest = point("any", axis(0), content="0").item.content_hash
    assert await store.count(IMAGES) == 6
    assert await store.count(IMAGES, content_hash=digest) == 3
    assert await store.count(IMAGES, content_hash=digest, where=Range("n", gte=2)) == 2
    assert await store.count(IMAGES, content_hash="0" * 64) == 0


@pytest.mark.parametrize("page", [1, 7, 40, 41])
async def test_scroll_meets_every_item_once(store: VectorStore, page: int) -> None:
    held = points(40)
    await store.upsert(IMAGES, held)
    found = await all_ids(store, page=page)
    assert sorted(found) == [entry.item.id for entry in held]
    assert found == await all_ids(store, page=1000)


async def test_scroll_is_stable_while_items_come_and_go(store: VectorStore) -> None:
    held = points(40)
    await store.upsert(IMAGES, held)
    first = await store.scroll(IMAGES, limit=10)
    start = (await store.scroll(IMAGES, limit=1, cursor=first.next_cursor)).items[0].id
    await store.upsert(IMAGES, points(40, prefix="new"))
    await store.delete(IMAGES, [start])
    met, cursor = [item.id for item in first.items], first.next_cursor
    while cursor is not None:
        part = await store.scroll(IMAGES, limit=10, cursor=cursor)
        met, cursor = met + [item.id for item in part.items], part.next_cursor
    assert len(met) == len(set(met))
    assert {entry.item.id for entry in held} - {start} <= set(met)
    assert start not in met


@pytest.mark.parametrize("garbage", ["", "x", "not a cursor", "AAAA", "A" * 28, "é", "../../etc", "A" * 4000])
async def test_scroll_refuses_foreign_cursors(store: VectorStore, garbage: str) -> None:
    with pytest.raises(ValidationFailed, match="start again without one") as refused:
        await store.scroll(IMAGES, limit=1, cursor=garbage)
    assert refused.value.loc == ("cursor",)


async def test_scroll_refuses_the_cursor_of_the_other_modality(store: VectorStore) -> None:
    await store.upsert(IMAGES, points(3))
    cursor = (await store.scroll(IMAGES, limit=1)).next_cursor
    assert cursor is not None
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()
    with pytest.raises(ValidationFailed):
        await store.scroll(TEXTS, limit=1, cursor=cursor)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (np.full(DIM, np.nan, np.float32), "length nan"),
        (np.full(DIM, np.inf, np.float32), "length inf"),
        (np.zeros(DIM, np.float32), "length 0"),
        (np.ones(DIM, np.float32), "length 2.82843"),
        (axis(0) * np.float32(1.01), "length 1.01"),
        (axis(0, DIM + 1), r"shape \(9,\)"),
        (axis(0)[None], r"shape \(1, 8\)"),
    ],
)
async def test_bad_embeddings_are_refused(store: VectorStore, bad: np.ndarray, why: str) -> None:
    await store.upsert(IMAGES, [point("good", axis(0))])
    with pytest.raises(ValueError, match=why):
        await store.upsert(IMAGES, [point("fine", axis(1)), point("bad", bad)])
    with pytest.raises(ValueError, match=why):
        await store.search(IMAGES, bad, limit=1)
    with pytest.raises(ValueError, match=why):
        await store.rank(IMAGES, bad, limit=1)
    assert await all_ids(store) == ["good"]


async def test_lengths_within_the_tolerance_are_scaled_to_one(store: VectorStore) -> None:
    await store.upsert(IMAGES, [point("near", axis(0) * np.float32(1.0009))])
    [hit] = await store.search(IMAGES, axis(0) * np.float32(0.9992), limit=1, with_embeddings=True)
    assert hit.score == pytest.approx(1.0, abs=1e-6)
    assert hit.embedding is not None
    np.testing.assert_allclose(hit.embedding, axis(0), atol=1e-6)


async def test_items_that_do_not_belong_are_refused(store: VectorStore) -> None:
    good = point("good", axis(0))
    for bad, why in (
        (point("text", axis(0), modality=Modality.TEXT), "modality text"),
        (replace(good, item=replace(good.item, created_at=datetime(2024, 1, 1))), "time zone"),  # noqa: DTZ001
        (replace(good, item=replace(good.item, text="\ud800")), "surrogate"),
    ):
        with pytest.raises(ValueError, match=why):
            await store.upsert(IMAGES, [bad])
    assert await store.count(IMAGES) == 0


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (-1, 0), (1, -1)])
async def test_windows_out_of_range_are_refused(store: VectorStore, limit: int, offset: int) -> None:
    with pytest.raises(ValueError, match="limit is at least 1 and offset at least 0"):
        await store.search(IMAGES, axis(0), limit=limit, offset=offset)


async def test_another_model_is_refused(store: VectorStore) -> None:
    await store.open(SPEC)  # once more is no harm
    for other in (CollectionSpec(DIM, "other-model:4567"), CollectionSpec(DIM + 1, SPEC.fingerprint)):
        with pytest.raises(FingerprintMismatch) as refused:
            await store.open(other)
        assert SPEC.fingerprint in refused.value.detail
        assert other.fingerprint in refused.value.detail
        assert "start with the old model (" in refused.value.detail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PREPROCESSING": "fast"}, "PREPROCESSING=standard instead of fast"),
        ({"MODEL": "large", "PRECISION": "int8"}, "MODEL=tiny instead of large, PRECISION=auto instead of int8"),
        ({}, "its settings were the same, its files were not: the weights, or the int8 export"),
    ],
)
async def test_the_refusal_of_another_model_names_the_settings_that_differ(
    store: VectorStore, changes: dict[str, str], said: str
) -> None:
    settings = SETTINGS | changes
    await store.open(
        CollectionSpec(DIM, SPEC.fingerprint, settings)
    )  # they do not matter as long as the model is the same
    with pytest.raises(FingerprintMismatch) as refused:
        await store.open(CollectionSpec(DIM, "other-model:4567", settings))
    assert f"start with the old model ({said}), or " in refused.value.detail


async def test_a_closed_store_is_unavailable(store: VectorStore) -> None:
    await store.close()
    await store.close()
    for use in (
        store.upsert(IMAGES, [point("one", axis(0))]),
        store.fetch(IMAGES, ["one"]),
        store.delete(IMAGES, ["one"]),
        store.search(IMAGES, axis(0), limit=1),
        store.rank(IMAGES, axis(0), limit=1),
        store.take(IMAGES, [point_uuid(IMAGES.tenant, "one")]),
        store.cosines(IMAGES, [point_uuid(IMAGES.tenant, "one")], [axis(0)]),
        store.scroll(IMAGES, limit=1),
        store.count(IMAGES),
        store.ping(),
    ):
        with pytest.raises(StoreUnavailable, match="not open"):
            await use


async def test_reads_stay_whole_while_others_write(store: VectorStore) -> None:
    held = points(300)
    await store.upsert(IMAGES, held[:100])
    writing = True

    async def write() -> None:
        nonlocal writing
        for start in range(100, 300, 20):
            await store.upsert(IMAGES, held[start : start + 20])
            await asyncio.sleep(0)
        writing = False

    async def read(seed: int) -> None:
        reads = 0
        query = unit_vectors(1, seed=seed)[0]
        while writing or reads == 0:
            hits = await store.search(IMAGES, query, limit=50, where=Equals("colour", "red"))
            scores = [hit.score for hit in hits]
            assert scores == sorted(scores, reverse=True)
            assert all(hit.item.metadata["colour"] == "red" for hit in hits)
            assert len({hit.item.id for hit in hits}) == len(hits) >= 34
            found = await store.fetch(IMAGES, [held[seed].item.id])
            assert found[0] is not None
            reads += 1
            await asyncio.sleep(0)

    await asyncio.gather(read(1), read(2), read(3), write())
    assert await store.count(IMAGES) == 300


async def test_concurrent_writes_all_arrive(store: VectorStore) -> None:
    held = points(120)
    await asyncio.gather(*(store.upsert(IMAGES, held[start : start + 10]) for start in range(0, 120, 10)))
    assert await store.count(IMAGES) == 120


async def test_statistics_are_kept_with_the_collections_and_replaced_as_a_whole(store: VectorStore) -> None:
    assert store.statistics == {}
    await store.upsert(IMAGES, [point("a", axis(0))])
    await store.keep_statistics(STATISTICS)
    assert store.statistics == STATISTICS
    await store.keep_statistics({"text-text": STATISTICS["image-image"]})
    await store.open(SPEC)  # again, which checks what there is
    assert store.statistics == {"text-text": STATISTICS["image-image"]}
    assert await store.count(IMAGES) == 1


async def test_signatures_round_trip_and_an_item_may_be_without(store: VectorStore) -> None:
    plain = point("plain", axis(0))
    signed = point("signed", axis(1))
    signed = replace(signed, item=replace(signed.item, signature=bytes(range(256))))
    await store.upsert(IMAGES, [plain, signed])
    [first, second] = await store.fetch(IMAGES, ["plain", "signed"])
    assert first is not None
    assert second is not None
    assert (first.item, second.item) == (plain.item, signed.item)
    assert {item.id: item.signature for item in (await store.scroll(IMAGES, limit=5)).items} == {
        "plain": b"",
        "signed": bytes(range(256)),
    }
    [hit] = await store.search(IMAGES, axis(1), limit=1)  # which may leave the signature out
    assert replace(hit.item, signature=signed.item.signature) == signed.item


@pytest.mark.parametrize("page", [1, 7, 100])
async def test_scroll_gives_embeddings_in_the_order_of_the_items(store: VectorStore, page: int) -> None:
    held = points(20)
    await store.upsert(IMAGES, held)
    given = {entry.item.id: entry.embedding for entry in held}
    cursor, met = None, 0
    while True:
        part = await store.scroll(IMAGES, limit=page, cursor=cursor, with_embeddings=True)
        assert part.embeddings is not None
        assert part.embeddings.dtype == np.float32
        np.testing.assert_allclose(part.embeddings, np.stack([given[item.id] for item in part.items]), atol=1e-6)
        met += len(part.items)
        if (cursor := part.next_cursor) is None:
            break
    assert met == 20
    narrow = await store.scroll(IMAGES, limit=50, where=Equals("colour", "red"), with_embeddings=True)
    assert narrow.embeddings is not None
    assert narrow.embeddings.shape == (len(narrow.items), DIM) == (7, DIM)
    assert (await store.scroll(IMAGES, limit=5)).embeddings is None
    empty = await store.scroll(TEXTS, limit=5, with_embeddings=True)
    assert empty.embeddings is not None
    assert len(empty.embeddings) == 0
