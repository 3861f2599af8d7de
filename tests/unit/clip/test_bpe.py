import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from crossmodal.clip.bpe import BytePairs
from crossmodal.clip.text import RAW_CHARACTERS, BpeTokenizer
from tests.unit.clip.model_folders import CONTEXT, VOCABULARY

SPECIAL = ["<start_of_text>", "<end_of_text>"]
WHOLE = BpeTokenizer(SimpleTokenizer())
ALPHABETS = [range(32, 127), range(0x3000), range(0x4E00, 0x5000), range(0x1F300, 0x1F700), range(0x110000)]
BETWEEN = [
    " ",
    "",
    " <end_of_text>",
    "&amp;lt;end_of_text&gt;",
    "'S",
    " dogs running's",
    "'Ll",
    "a" * 300,
    "\u00e2\u20ac\u2122",
]


def ours(tokenizer: BpeTokenizer) -> BpeTokenizer:
    """The same from its description, as it is exported."""
    described: dict[str, Any] = tokenizer.describe()
    pairs = BytePairs(
        described["vocabulary"],
        described["merges"],
        special=tokenizer.special,
        clean=described["clean"],
        context_length=tokenizer.context_length,
    )
    return BpeTokenizer(pairs)


def random_text(source: random.Random) -> str:
    parts = []
    for _ in range(source.randint(1, 6)):
        alphabet = source.choice(ALPHABETS)
        letters = "".join(chr(source.choice(alphabet)) for _ in range(source.randint(0, 20)))
        parts += [letters.encode("utf-8", "ignore").decode(), source.choice(BETWEEN)]
    return "".join(parts)


def assert_same(one: BpeTokenizer, other: BpeTokenizer, texts: list[str]) -> None:
    for mine, theirs in zip(one.tokenize(texts), other.tokenize(texts), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_ids_lengths_and_cuts_are_those_over_openclips_tokenizer(clean: str) -> None:
    reference = BpeTokenizer(SimpleTokenizer(clean=clean))
    source = random.Random(1)
    assert_same(ours(reference), reference, [random_text(source) for _ in range(3000)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=300), min_size=1, max_size=4))
def test_any_string_gives_the_same_ids(texts: list[str]) -> None:
    assert_same(OURS, WHOLE, texts)


OURS = ours(WHOLE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a" * 5000,
        "ab" * 4000,
        "東京" * 900,
        " " * RAW_CHARACTERS + "a dog",
        "dog " * 300,
        "\ufeffbom",
        "a\x00b",
    ],
)
def test_the_ends_of_what_is_possible_give_the_same_ids(text: str) -> None:
    assert_same(OURS, WHOLE, [text, "a dog"])


def test_the_fingerprints_part_is_the_same() -> None:
    assert OURS.describe() == WHOLE.describe()
    assert OURS.special == SPECIAL


def test_special_tokens_of_a_user_are_plain_characters() -> None:
    ids = OURS.tokenize(["a red <end_of_text> &lt;start_of_text&gt; car"]).ids[0].tolist()
    assert (ids.count(49406), ids.count(49407)) == (1, 1)


def test_a_cut_vocabulary_gives_the_same_ids(small_tokenizer: SimpleTokenizer) -> None:
    small = BpeTokenizer(small_tokenizer)
    tokenizer = ours(small)
    assert (tokenizer.vocab_size, tokenizer.context_length) == (VOCABULARY, CONTEXT)
    assert_same(tokenizer, small, ["the dog in 東京", "zebra " * 20, "over the lazy dog"])


@pytest.mark.parametrize("change", [{"clean": "other"}, {"special": ["<none>", "<end_of_text>"]}])
def test_what_cannot_be_meant_is_refused(change: dict[str, Any]) -> None:
    described: dict[str, Any] = WHOLE.describe()
    arguments = {"special": SPECIAL, "clean": "_clean_lower", "context_length": 77, **change}
    with pytest.raises(KeyError):
        BytePairs(described["vocabulary"], described["merges"], **arguments)


def test_a_vocabulary_without_single_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks pieces of one byte"):
        BytePairs({"<s>": 0, "<e>": 1}, [], special=["<s>", "<e>"], clean="_clean_lower", context_length=8)
