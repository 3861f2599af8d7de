import pytest

from crossmodal.errors import TextTooLong, ValidationFailed
from crossmodal.search.texts import check_id, check_text


@pytest.mark.parametrize("text", ["a", " padded ", "日本語", "🍌" * 10])
def test_a_text_is_returned_as_it_came(text: str) -> None:
    assert check_text(text, max_chars=10) == text


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u2003"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed, match="the text is empty"):
        check_text(text, max_chars=10)


def test_a_long_text_is_refused_with_both_numbers() -> None:
    with pytest.raises(TextTooLong, match="the text has 11 characters; at most 10 are allowed"):
        check_text("x" * 11, max_chars=10)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="surrogate"):
        check_text("a\ud800", max_chars=10)


@pytest.mark.parametrize("item_id", ["a", "IMG 0001.jpg", "folder/picture.webp", "日本", "x" * 256, "a?b#c%d"])
def test_an_id_may_be_any_printable_name(item_id: str) -> None:
    assert check_id(item_id) == item_id


@pytest.mark.parametrize(
    "item_id", ["", "x" * 257, "a\nb", "\x00", "..", "a/../b", "/a", "a/", "a//b", "a/thumbnail", "\ud800"]
)
def test_an_id_that_cannot_stand_in_a_url_is_refused(item_id: str) -> None:
    with pytest.raises(ValidationFailed, match=r"^the id "):
        check_id(item_id)
