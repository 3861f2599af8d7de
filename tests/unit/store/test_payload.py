"""The payload beside each vector, and the small parts every adapter shares."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import StoreUnavailable, ValidationFailed
from crossmodal.records import Item, MetadataValue, Modality, Partition, Scalar, ScoredItem
from crossmodal.store import payload
from crossmodal.store.cursor import decode_cursor, encode_cursor
from crossmodal.store.ranking import MAX_TIES, stable_page
from crossmodal.store.vectors import cosine, unit

IMAGES, TEXTS = Partition("acme", Modality.IMAGE), Partition("acme", Modality.TEXT)
NOW = datetime(2024, 2, 29, 23, 59, 59, 1, tzinfo=UTC)
SCALARS: st.SearchStrategy[Scalar] = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


def item(item_id: str, **metadata: MetadataValue) -> Item:
    return Item(item_id, Modality.TEXT, "ab" * 32, NOW, metadata, "words")


def test_layout() -> None:
    written = payload.to_payload("acme", item("one", n=1, tags=["a", "a"], none=None))
    assert written == {
        "tenant": "acme",
        "id": "one",
        "content_hash": "ab" * 32,
        "created_at": "2024-02-29T23:59:59.000001+00:00",
        "text": "words",
        "metadata": {"n": 1, "tags": ["a", "a"], "none": None},
        "terms": sorted([payload.term("n", 1), payload.number_term("n"), payload.term("tags", "a")]),
    }
    assert payload.from_payload(written, TEXTS) == item("one", n=1, tags=["a", "a"], none=None)


def test_how_a_text_was_embedded_is_kept_where_it_is_not_the_usual_way() -> None:
    split = replace(item("one"), long_text="split")
    written = payload.to_payload("acme", split)
    assert written["long_text"] == "split"
    assert payload.from_payload(written, TEXTS) == split


def test_a_signature_is_kept_where_there_is_one() -> None:
    signed = Item("one", Modality.IMAGE, "ab" * 32, NOW, {}, signature=b"\x00\xff\x01")
    written = payload.to_payload("acme", signed)
    assert written["signature"] == "AP8B"
    assert payload.from_payload(written, IMAGES) == signed
    del written["signature"]  # as items were written before there were signatures
    assert payload.from_payload(written, IMAGES).signature == b""


def test_point_ids_do_not_change_between_versions() -> None:
    assert payload.point_id("acme", "one") == "bf47dd3e-afd2-5218-8304-8b496b6c8da9"


@settings(deadline=None)  # the machine may be busy
@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_two_pairs_of_tenant_and_id_have_two_points(left: tuple[str, str], right: tuple[str, str]) -> None:
    assert (payload.point_id(*left) == payload.point_id(*right)) is (left == right)


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_where_tenant_ends_and_id_begins_tells_points_apart(joined: str, one: int, other: int) -> None:
    left, right = (joined[:one], joined[one:]), (joined[:other], joined[other:])
    assert (payload.point_id(*left) == payload.point_id(*right)) is (left == right)


def test_another_tenants_payload_is_no_answer() -> None:
    written = payload.to_payload("globex", item("one"))
    assert not payload.is_of(written, TEXTS)
    with pytest.raises(StoreUnavailable, match="not asked for"):
        payload.from_payload(written, TEXTS)
    del written["tenant"]
    assert not payload.is_of(written, TEXTS)


def test_an_id_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="surrogate") as refused:
        payload.point_id("acme", "\ud800")
    assert refused.value.loc == ("id",)


@settings(deadline=None)  # the machine may be busy
@given(SCALARS, SCALARS)
def test_terms_are_equal_for_equal_values_of_one_kind(left: Scalar, right: Scalar) -> None:
    equal = isinstance(left, bool) == isinstance(right, bool) and left == right
    assert (payload.term("f", left) == payload.term("f", right)) is equal
    assert payload.term("f", left) != payload.term("g", left)
    assert len(payload.term("f", left)) == 22


def test_terms_of_numbers_follow_their_value() -> None:
    assert payload.term("f", 1) == payload.term("f", 1.0)
    assert payload.term("f", 0.0) == payload.term("f", -0.0)
    assert payload.term("f", 2**53) == payload.term("f", float(2**53))
    assert payload.term("f", 2**53 + 1) != payload.term("f", float(2**53))
    assert (
        len({payload.term("f", value) for value in (True, 1, "1", "True", "n1", "n")} | {payload.number_term("f")}) == 7
    )


def test_number_indexes_are_made_once_and_not_without_end() -> None:
    indexes = payload.NumberIndexes(["metadata.old", 'metadata."an old"', "terms", "content_hash"])
    values: dict[str, MetadataValue] = {"an old": 1, "new": 1.5, "flag": True, "word": "x", "list": ["x", 2]}
    held = item("one", old=1, **values)
    assert indexes.missing([held]) == ["list", "new"]
    indexes.add("new")
    assert indexes.missing([held]) == ["list"]
    many = item("many", **{f"field-{index:02}": index for index in range(40)})
    assert len(indexes.missing([many])) == payload.MAX_NUMBER_INDEXES - 3


def test_cursors_come_back() -> None:
    start = payload.point_id("acme", "one")
    cursor = encode_cursor(IMAGES, start)
    assert len(cursor) == 28
    assert decode_cursor(IMAGES, cursor) == start
    for other in (TEXTS, Partition("globex", Modality.IMAGE), Partition("", Modality.IMAGE)):
        with pytest.raises(ValidationFailed):
            decode_cursor(other, cursor)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 27), st.sampled_from("ABab01-_"))
def test_changed_cursors_are_refused(place: int, char: str) -> None:
    cursor = encode_cursor(IMAGES, payload.point_id("acme", "one"))
    changed = cursor[:place] + char + cursor[place + 1 :]
    if changed != cursor:
        with pytest.raises(ValidationFailed):
            decode_cursor(IMAGES, changed)


@settings(deadline=None)  # the machine may be busy
@given(st.text())
def test_any_text_is_refused_as_a_cursor_and_never_breaks(garbage: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        decode_cursor(IMAGES, garbage)
    assert refused.value.loc == ("cursor",)


async def test_a_run_of_ties_is_fetched_to_its_end_but_not_without_end() -> None:
    asked: list[int] = []

    async def search(n: int) -> list[ScoredItem]:
        asked.append(n)
        return [ScoredItem(item(f"{index:05}"), 0.5) for index in reversed(range(50))][:n]

    page = await stable_page(search, limit=3, offset=0)
    assert [hit.item.id for hit in page] == ["00000", "00001", "00002"]
    assert asked == [4, 8, 16, 32, 64]

    async def endless(n: int) -> list[ScoredItem]:
        asked.append(n)
        return [ScoredItem(item(str(index)), 0.5) for index in range(n)]

    assert len(await stable_page(endless, limit=3, offset=2)) == 3
    assert max(asked) == 5 + MAX_TIES


async def test_without_ties_one_search_is_enough() -> None:
    asked: list[int] = []

    async def search(n: int) -> list[ScoredItem]:
        asked.append(n)
        return [ScoredItem(item(str(index)), 1 - index / 10) for index in range(9)][:n]

    assert [hit.item.id for hit in await stable_page(search, limit=2, offset=1)] == ["1", "2"]
    assert asked == [4]


def test_scores_are_clipped() -> None:
    assert (cosine(1.0000001), cosine(-1.0000001), cosine(0.25)) == (1.0, -1.0, 0.25)


def test_units_are_copies() -> None:
    given_vector = np.array([1.0, 0.0], np.float32)
    kept = unit(given_vector, 2)
    given_vector[0] = 5
    assert kept.tolist() == [1.0, 0.0]


def test_no_engine_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, crossmodal.store.base, crossmodal.store.filters, crossmodal.store.exact\n"
        "print([name for name in ('qdrant_client', 'qdrant_edge', 'grpc', 'httpx') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    loaded = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
