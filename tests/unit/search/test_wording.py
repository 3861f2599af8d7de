import pytest

from crossmodal.search.wording import NOTHING_FITS, sentence_of


@pytest.mark.parametrize(
    ("captions", "tags", "sentence"),
    [
        (["three bananas on a blue background"], [], "Probably: three bananas on a blue background."),
        (["Three bananas, blue background."], ["banana", "blue"], "Probably: Three bananas, blue background."),
        (["two dogs", "a cat"], ["dog", "beach", "red"], "Probably: two dogs. Also fits: beach, red."),
        (["two boxes"], ["box"], "Probably: two boxes."),
        (["a cup\n of\tcoffee"], ["cup of coffee", "cup of tea"], "Probably: a cup of coffee. Also fits: cup of tea."),
        ([], ["banana", "blue"], "No caption fits; words that do: banana, blue."),
        (["\u200b", "a cat"], [], "Probably: a cat."),
        (["..."], ["dog"], "No caption fits; words that do: dog."),
        ([], [], NOTHING_FITS),
        (["a " + "very " * 50 + "long text"], [], "Probably: a " + "very " * 38 + "very…"),
        (["x" * 300], [], "Probably: " + "x" * 200 + "…"),
    ],
)
def test_the_sentence_says_what_fits(captions: list[str], tags: list[str], sentence: str) -> None:
    assert sentence_of(captions, tags) == sentence
