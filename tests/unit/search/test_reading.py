import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from crossmodal import metering
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.errors import PayloadTooLarge, TextTooLong
from crossmodal.metering import Bucket, Rate
from crossmodal.search.reading import MAX_PIECES, MAX_REQUEST_PIECES, TextReader, pieces_of
from tests.fakes import CONTEXT, ColourModel

LONG = "red green blue. " * 10
"""Thirty words, of which the model reads twelve at a time."""


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture
async def texts(model: ColourModel) -> AsyncIterator[TextReader]:
    encoder = LocalEncoder(model, BatchLimits())
    yield TextReader(encoder, max_text_chars=100_000)
    await encoder.close()


async def test_a_short_text_is_read_alike_either_way_and_once(texts: TextReader, model: ColourModel) -> None:
    cut = await texts.embed(["red", "a blue thing"])
    split = await texts.embed(["red", "a blue thing"], "split")
    for one, other in zip(cut, split, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (cut.tokens_used.tolist(), cut.truncated.tolist()) == ([1, 3], [False, False])
    assert model.batches == [2, 2]


async def test_a_long_text_is_cut_and_said_to_be(texts: TextReader, model: ColourModel) -> None:
    read = await texts.embed(["red", LONG])
    assert (read.tokens_used.tolist(), read.truncated.tolist()) == ([1, CONTEXT], [False, True])
    np.testing.assert_array_equal(read.embeddings[1], ColourModel().embed_texts([LONG]).embeddings[0])
    assert model.batches == [2]


async def test_a_split_text_is_the_mean_of_its_pieces_by_their_tokens(texts: TextReader, model: ColourModel) -> None:
    text = "red red red red red red red red red red. blue blue blue."
    read = await texts.embed(["green", text], "split")
    assert (read.tokens_used.tolist(), read.truncated.tolist()) == ([1, 13], [False, False])
    pieces = model.texts_seen[2:]
    assert " ".join(pieces) == text
    parts = ColourModel().embed_texts(pieces)
    mean = parts.tokens.astype(np.float64) @ parts.embeddings
    np.testing.assert_allclose(read.embeddings[1], mean / np.linalg.norm(mean), atol=1e-6)
    assert read.embeddings.dtype == np.float32
    assert np.linalg.norm(read.embeddings[1]) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(read.embeddings[0], ColourModel().embed_texts(["green"]).embeddings[0])


async def test_nothing_of_a_split_text_is_left_out_or_read_twice(texts: TextReader, model: ColourModel) -> None:
    words = [f"w{number:03}" for number in range(700)]
    read = await texts.embed([" ".join(words)], "split")
    fitting = [text for text in model.texts_seen if len(text.split()) <= CONTEXT]
    assert sorted(" ".join(fitting).split()) == words
    assert (read.tokens_used[0], read.truncated[0]) == (700, False)


async def test_pieces_of_several_texts_travel_together(texts: TextReader, model: ColourModel) -> None:
    read = await texts.embed([LONG, "red", LONG], "split")
    assert read.tokens_used.tolist() == [30, 1, 30]
    assert not read.truncated.any()
    np.testing.assert_array_equal(read.embeddings[0], read.embeddings[2])
    assert model.batches == [3, 4, 8]


async def test_pieces_are_bounded_and_what_was_not_read_is_said(texts: TextReader, model: ColourModel) -> None:
    read = await texts.embed(["word " * (MAX_PIECES * CONTEXT * 3)], "split")
    assert read.truncated.tolist() == [True]
    assert read.tokens_used.tolist() == [MAX_PIECES * CONTEXT]
    assert len(model.texts_seen) == 2 * MAX_PIECES - 1


async def test_a_request_may_not_ask_for_pieces_without_end(texts: TextReader, model: ColourModel) -> None:
    long = "word " * (MAX_PIECES * CONTEXT // 2)
    with pytest.raises(PayloadTooLarge, match=f"more than {MAX_REQUEST_PIECES} pieces"):
        await texts.embed([long] * 20, "split")
    assert len(model.texts_seen) <= 20 + MAX_REQUEST_PIECES


async def test_pieces_are_charged(texts: TextReader) -> None:
    bucket = Bucket(Rate(1e-9, 1000.0))

    async def request() -> None:
        metering.use(bucket)
        await texts.embed([LONG], "split")

    await asyncio.create_task(request())
    assert 1000 - bucket.balance == pytest.approx(2 + 4)


def test_a_text_is_checked_by_its_length(texts: TextReader) -> None:
    assert texts.check("red") == "red"
    with pytest.raises(TextTooLong):
        texts.check("x" * 100_001)


@pytest.mark.parametrize(
    ("text", "count", "parts"),
    [
        ("One two three. Four five six.", 2, ["One two three.", "Four five six."]),
        ("One two. Three four five six!  Seven.", 2, ["One two. Three four", "five six!  Seven."]),
        ("一二三四五。六七八九十", 2, ["一二三四五。", "六七八九十"]),
        ("aaaa bbbb cccc", 3, ["aaaa", "bbbb", "cccc"]),
        ("aaaaaaaa", 2, ["aaaa", "aaaa"]),
        ("ab", 5, ["a", "b"]),
        ("a", 2, ["a"]),
        ("a dog", 1, ["a dog"]),
        ("a dog" + " " * 40, 2, ["a dog"]),
        ("\u200b" * 41 + "a dog", 2, ["\u200b" * 18 + "a dog"]),  # nothing to be seen is no piece
    ],
)
def test_where_a_text_is_cut(text: str, count: int, parts: list[str]) -> None:
    assert pieces_of(text, count) == parts


@pytest.mark.parametrize("count", [2, 3, 7, 64])
def test_cuts_lose_no_word(count: int) -> None:
    text = "The first sentence is here. " * 3 + "x" * 200 + " and some words without an end to their sentence" * 5
    found = pieces_of(text, count)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert 2 <= len(found) <= count
