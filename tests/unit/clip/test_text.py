import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from crossmodal.clip.text import CACHED_WORDS, RAW_CHARACTERS, BpeTokenizer, HubTokenizer, adapt_tokenizer
from crossmodal.errors import ConfigurationError
from tests.unit.clip.hub_tokenizer import END, PAD, hub_tokenizer
from tests.unit.clip.model_folders import CONTEXT, VOCABULARY

WHOLE = SimpleTokenizer()
SPECIAL = [
    "<end_of_text>", "<start_of_text>", "<END_of_Text>", "&lt;end_of_text&gt;", "&amp;lt;end_of_text&amp;gt;",
    "\uff1cend_of_text\uff1e", "<<end_of_text>>", "<end_of_text><end_of_text>", "< end_of_text>",
]  # fmt: skip


@pytest.fixture
def whole() -> BpeTokenizer:
    return BpeTokenizer(SimpleTokenizer())


@pytest.mark.parametrize(
    "text",
    ["", "   ", "a dog", "it's 12 o'clock", "naïve café 東京 🙂🙂", "<b>x</b> &amp; y", "word " * 500, "x" * 5000,
     "ab" * 400, "東京" * 300, "🙂" * 900, "\t\n mixed \u00a0 spaces \u3000", "ﬁ ½ Ⅷ", "a\x00b\x07c\x7f", "\ufeffbom",
     "ends with <end_of_tex", "under_score-and-dash", "'S 'T 'RE", "ǅ ß İ \u017f"],
)  # fmt: skip
def test_ids_are_those_of_openclip(whole: BpeTokenizer, text: str) -> None:
    batch = whole.tokenize([text, "a dog"])
    assert batch.ids.dtype == np.int64
    np.testing.assert_array_equal(batch.ids, WHOLE([text, "a dog"]).numpy())


def test_lengths_are_those_before_cutting(whole: BpeTokenizer) -> None:
    batch = whole.tokenize(["", "a dog", "dog " * 75, "dog " * 76, "dog " * 300])
    assert batch.tokens.tolist() == [2, 4, 77, 78, 302]
    assert batch.tokens.dtype == np.int32
    assert batch.truncated.tolist() == [False, False, False, True, True]
    assert batch.ids[3, -1] == batch.ids[4, -1] == WHOLE.eot_token_id


@pytest.mark.parametrize("special", SPECIAL)
def test_special_tokens_of_a_user_are_plain_characters(whole: BpeTokenizer, special: str) -> None:
    ids = whole.tokenize([f"a red {special} car"]).ids[0].tolist()
    assert ids.count(WHOLE.eot_token_id) == 1
    assert ids.count(WHOLE.sot_token_id) == 1
    (car,) = WHOLE.encode("car")
    assert ids[ids.index(WHOLE.eot_token_id) - 1] == car


def test_the_other_spelling_of_special_tokens_is_plain_already(whole: BpeTokenizer) -> None:
    ids = whole.tokenize(["<|endoftext|> a car <|startoftext|>"]).ids[0].tolist()
    assert ids.count(WHOLE.eot_token_id) == ids.count(WHOLE.sot_token_id) == 1


def test_a_special_token_reads_as_its_characters(whole: BpeTokenizer) -> None:
    written = whole.tokenize(["<end_of_text>"]).ids
    np.testing.assert_array_equal(written, WHOLE(["< end_of_text>"]).numpy())


def test_text_after_the_characters_that_are_looked_at_is_cut(whole: BpeTokenizer) -> None:
    batch = whole.tokenize([" " * RAW_CHARACTERS + "a dog", " " * (RAW_CHARACTERS - 5) + "a dog"])
    assert batch.truncated.tolist() == [True, False]
    assert batch.tokens.tolist() == [2, 4]


def test_a_word_without_end_costs_no_more_than_its_beginning(whole: BpeTokenizer) -> None:
    letters = "".join(np.random.default_rng(0).choice(list("qzxjkvw"), 30_000))
    batch = whole.tokenize([letters])
    np.testing.assert_array_equal(batch.ids, WHOLE([letters[:2000]]).numpy())
    assert batch.truncated.tolist() == [True]
    assert batch.tokens[0] < 400


def test_the_memory_of_words_is_bounded(small_tokenizer: SimpleTokenizer) -> None:
    tokenizer = BpeTokenizer(small_tokenizer)
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}q" for n in range(26**3)]
    for first in range(0, len(words), 1000):
        tokenizer.tokenize(words[first : first + 1000])
        tokenizer.tokenize([word + "zz" for word in words[first : first + 1000]])
    assert len(small_tokenizer.cache) <= CACHED_WORDS + 2000
    assert "<end_of_text>" in small_tokenizer.cache
    tokenizer.tokenize(["long" * 200])
    assert max(map(len, small_tokenizer.cache)) < 256


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec=None), max_size=200) | st.sampled_from(SPECIAL), min_size=1, max_size=4))
def test_any_string_gives_one_start_and_one_end(texts: list[str]) -> None:
    ids, tokens, truncated = BpeTokenizer(WHOLE).tokenize(texts)
    assert ids.shape == (len(texts), 77)
    assert ((ids >= 0) & (ids < 49408)).all()
    assert (ids[:, 0] == WHOLE.sot_token_id).all()
    assert ((ids == WHOLE.sot_token_id).sum(axis=1) == 1).all()
    assert ((ids == WHOLE.eot_token_id).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(ids.argmax(axis=1), np.minimum(tokens, 77) - 1)
    np.testing.assert_array_equal(truncated, tokens > 77)


def test_a_cut_vocabulary(small_tokenizer: SimpleTokenizer) -> None:
    tokenizer = BpeTokenizer(small_tokenizer)
    assert (tokenizer.vocab_size, tokenizer.context_length) == (VOCABULARY, CONTEXT)
    ids = tokenizer.tokenize(["the dog in 東京", "zebra " * 20]).ids
    np.testing.assert_array_equal(ids, small_tokenizer(["the dog in 東京", "zebra " * 20]).numpy())
    assert ids.max() == VOCABULARY - 1


def test_description_tells_vocabularies_apart(small_tokenizer: SimpleTokenizer, whole: BpeTokenizer) -> None:
    assert BpeTokenizer(small_tokenizer).describe() != whole.describe()
    assert BpeTokenizer(SimpleTokenizer(clean="canonicalize")).describe() != whole.describe()
    assert BpeTokenizer(SimpleTokenizer()).describe() == whole.describe()


def test_a_hub_tokenizer_gives_openclips_ids() -> None:
    ours, reference = adapt_tokenizer(hub_tokenizer(8)), hub_tokenizer(8)
    assert isinstance(ours, HubTokenizer)
    texts = ["", "Dog!", "a very long text", "Ünïcode"]
    batch = ours.tokenize(texts)
    np.testing.assert_array_equal(batch.ids, reference(texts).numpy())
    assert batch.tokens.tolist() == [1, 4, 17, 8]
    assert batch.truncated.tolist() == [False, False, True, False]
    assert (ours.vocab_size, ours.context_length) == (500, 8)


@pytest.mark.parametrize("special", ["</s>", "&lt;/s&gt;", "&amp;lt;/s&amp;gt;", "&amp;amp;lt;/s&amp;amp;gt;", "</S>"])
def test_special_tokens_of_a_hub_tokenizer_are_plain_characters(special: str) -> None:
    tokenizer = adapt_tokenizer(hub_tokenizer(64, clean="whitespace"))
    ids = tokenizer.tokenize([f"a {special} b"]).ids[0].tolist()
    assert ids.count(END) == 1
    assert set(ids[ids.index(END) + 1 :]) == {PAD}


def test_the_class_token_of_the_clips_mode_is_counted() -> None:
    batch = adapt_tokenizer(hub_tokenizer(8, clean="lower", mode="clips")).tokenize(["abc", "abcdefgh"])
    assert batch.tokens.tolist() == [6, 11]
    assert batch.truncated.tolist() == [False, True]


def test_description_of_a_hub_tokenizer_tells_cleaning_apart() -> None:
    one, other = (adapt_tokenizer(hub_tokenizer(8, clean=clean)).describe() for clean in ("lower", "canonicalize"))
    assert one != other
    assert one["class"] == "WordTokenizer"


def test_other_tokenizers_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="class object"):
        adapt_tokenizer(object())
