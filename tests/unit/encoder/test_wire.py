"""The form between an API and an encoder elsewhere: what goes in comes out, and nothing else is taken."""

from struct import pack
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crossmodal.batching import Lane
from crossmodal.encoder import wire
from crossmodal.encoder.wire import BadMessage, Order
from crossmodal.records import Pixels

ORDER = Order(Lane.INTERACTIVE, "model-1", 2.5)
TEXTS = wire.pack_texts(["red", "", "grün"], ORDER)
PIXELS = wire.pack_pixels(np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3), ORDER)
ROWS = wire.pack_rows(np.array([[0.6, 0.8], [1.0, 0.0]], dtype=np.float32))

orders = st.builds(
    Order,
    lane=st.sampled_from(Lane),
    fingerprint=st.text(st.characters(max_codepoint=127), min_size=1, max_size=wire.MAX_FINGERPRINT),
    seconds=st.floats(2.0**-10, wire.MAX_SECONDS, width=32),
)
everything = st.text(st.characters(exclude_categories=[]))
"""Lone surrogates too: JSON can hold them, so clients can send them."""
squares = st.tuples(st.integers(1, 3), st.integers(1, 9)).flatmap(
    lambda shape: hnp.arrays(np.uint8, (shape[0], shape[1], shape[1], 3))
)
rows = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@given(squares, orders)
def test_pixels_come_out_as_they_went_in(pixels: Pixels, order: Order) -> None:
    said, came = wire.unpack_pixels(wire.pack_pixels(pixels, order))
    assert said == order
    np.testing.assert_array_equal(came, pixels)
    assert came.dtype == np.uint8


@given(st.lists(everything, min_size=1), orders)
def test_texts_come_out_as_they_went_in(texts: list[str], order: Order) -> None:
    assert wire.unpack_texts(bytearray(wire.pack_texts(texts, order))) == (order, texts)


@given(rows)
def test_rows_come_out_as_they_went_in(rows: Any) -> None:
    came = wire.unpack_rows(wire.pack_rows(rows), items=len(rows))
    np.testing.assert_array_equal(came, rows)
    assert came.dtype == np.float32


def test_arrays_in_another_order_of_memory_are_the_same() -> None:
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    mirrored = pixels[:, ::-1, :, ::-1]
    np.testing.assert_array_equal(wire.unpack_pixels(wire.pack_pixels(mirrored, ORDER))[1], mirrored)
    turned = np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32))
    np.testing.assert_array_equal(wire.unpack_rows(wire.pack_rows(turned), items=2), turned)


def test_pixels_cost_their_bytes_and_a_head() -> None:
    assert len(PIXELS) == 2 * 4 * 4 * 3 + 20 + len("model-1")


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for unpack in (wire.unpack_pixels, wire.unpack_texts, lambda message: wire.unpack_rows(message, items=1)):
        with pytest.raises(BadMessage):
            unpack(noise)


@given(st.data())
def test_a_message_that_was_cut_or_grew_is_refused(data: st.DataObject) -> None:
    unpacks = ((PIXELS, wire.unpack_pixels), (TEXTS, wire.unpack_texts), (ROWS, lambda m: wire.unpack_rows(m, items=2)))
    message, unpack = data.draw(st.sampled_from(unpacks))
    changed = message[: data.draw(st.integers(0, len(message) - 1))]
    if data.draw(st.booleans()):
        changed = message + data.draw(st.binary(min_size=1, max_size=30))
    with pytest.raises(BadMessage):
        unpack(changed)


@given(st.data())
def test_a_changed_byte_is_refused_or_says_something_else(data: st.DataObject) -> None:
    """Whatever comes, it is read as what it now says or refused: no other error gets out."""
    place, value = data.draw(st.integers(0, len(TEXTS) - 1)), data.draw(st.integers(0, 255))
    changed = TEXTS[:place] + bytes([value]) + TEXTS[place + 1 :]
    try:
        order, texts = wire.unpack_texts(changed)
    except BadMessage:
        assert value != TEXTS[place]
    else:
        assert wire.pack_texts(texts, order) == changed


def head(**changed: Any) -> bytes:
    """The head of a request of one text, or one with some of it changed."""
    members = {"magic": b"CMV", "version": 1, "kind": 2, "lane": 0, "named": 1, "items": 1, "side": 0, "seconds": 1.0}
    members |= changed
    return pack("<3sBBBHIIf", *members.values())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"magic": b"GET"}, "another form"),
        ({"version": 2}, "version 2"),
        ({"kind": 1}, "kind 1"),
        ({"lane": 2}, "lane 2"),
        ({"named": 0}, "fingerprint of 0"),
        ({"named": 200}, "cut off"),
        ({"items": 0}, "0 items"),
        ({"items": 2**32 - 1}, "4294967295 items"),
        ({"items": 3}, "for 3 texts"),
        ({"side": 224}, "side of 224"),
        ({"seconds": 0.0}, "0.0 seconds"),
        ({"seconds": -1.0}, "-1.0 seconds"),
        ({"seconds": float("nan")}, "nan seconds"),
        ({"seconds": float("inf")}, "inf seconds"),
        ({"seconds": 1e9}, "1000000000.0 seconds"),
    ],
)
def test_a_head_that_cannot_be_meant_is_refused(changed: dict[str, Any], why: str) -> None:
    rest = b"f" + pack("<I", 3) + b"red"
    assert wire.unpack_texts(head() + rest) == (Order(Lane.INTERACTIVE, "f", 1.0), ["red"])
    with pytest.raises(BadMessage, match=why):
        wire.unpack_texts(head(**changed) + rest)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (b"\xff" + pack("<I", 3) + b"red", "not ASCII"),
        (b"f" + pack("<I", 2**32 - 1) + b"red", "end after 4294967299"),
        (b"f" + pack("<I", 3) + b"re\xff", "not UTF-8"),
    ],
)
def test_texts_that_cannot_be_read_are_refused(rest: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        wire.unpack_texts(head() + rest)


@pytest.mark.parametrize(
    ("side", "why"), [(0, "side of 0"), (5000, "side of 5000"), (4096, "50331648|bytes of pixels")]
)
def test_pixels_that_are_not_there_are_not_made_room_for(side: int, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        wire.unpack_pixels(head(kind=1, items=wire.MAX_ITEMS, side=side) + b"f" + bytes(48))


@pytest.mark.parametrize(
    ("shape", "numbers", "why"),
    [
        ((2, 1), 2, "for 1 items"),
        ((1, 0), 0, "1 times 0"),
        ((1, wire.MAX_COLUMNS + 1), 1, "times 16385"),
        ((1, 2), 3, "has 24 bytes"),
    ],
)
def test_rows_that_do_not_fit_are_refused(shape: tuple[int, int], numbers: int, why: str) -> None:
    message = pack("<3sBHHI", b"CMV", 1, 3, shape[1], shape[0]) + bytes(4 * numbers)
    with pytest.raises(BadMessage, match=why):
        wire.unpack_rows(message, items=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_of_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(BadMessage, match="that are none"):
        wire.unpack_rows(wire.pack_rows(np.array([[1.0, value]], dtype=np.float32)), items=1)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 4, 5, 3), np.uint8),
        np.zeros((1, 4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.float32),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((1, 0, 0, 3), np.uint8),
    ],
)
def test_what_would_be_refused_is_not_sent(pixels: Any) -> None:
    with pytest.raises(BadMessage):
        wire.pack_pixels(pixels, ORDER)
    with pytest.raises(BadMessage):
        wire.pack_texts([], ORDER)
    with pytest.raises(BadMessage):
        wire.pack_texts(["red"], Order(Lane.BULK, "", 1.0))


@pytest.mark.parametrize("message", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(message: bytes) -> None:
    with pytest.raises(BadMessage):
        wire.unpack_members(message)
