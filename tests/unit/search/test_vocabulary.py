from pathlib import Path

import pytest

from crossmodal.errors import ConfigurationError
from crossmodal.search.vocabulary import Section, load_vocabulary
from crossmodal.settings import Settings


def load(folder: Path, text: str) -> tuple[Section, ...]:
    (folder / "words.txt").write_text(text)
    return load_vocabulary(folder / "words.txt")


def test_plain_lines_are_one_section(tmp_path: Path) -> None:
    assert load(tmp_path, "dog\n\n# no word\n cup  of coffee \r\n") == (Section(("dog", "cup of coffee")),)


def test_headings_begin_sections(tmp_path: Path) -> None:
    text = "dog\n[one]\nred\nblue\n[any]\nbeach\n"
    assert load(tmp_path, text) == (Section(("dog",)), Section(("red", "blue"), always=True), Section(("beach",)))
    both = (Section(("orange",)), Section(("orange",), always=True))
    assert load(tmp_path, "orange\n[one]\norange") == both
    assert load(tmp_path, "[one]\nred") == (Section(("red",), always=True),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "words.txt has 0 words; 1 to 10000 are allowed"),
        ("# dog\n[any]\n", "words.txt has 0 words"),
        ("dog\ncat\ndog\n", "words.txt, line 3: 'dog' stands in line 1 already"),
        ("dog\n[one]\nred\nred\n", "words.txt, line 4: 'red' stands in line 3 already"),
        ("[some]\ndog\n", r"words.txt, line 1: the heading is \[any\] or \[one\], not '\[some\]'"),
        ("[any]\n[one]\nred\n", "words.txt has a section without words"),
        ("dog\n" + "x" * 101, "words.txt, line 2: the text has 101 characters; at most 100"),
        ("dog\n\u200b\n", "words.txt, line 2: the text is empty"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.txt: No such file"):
        load_vocabulary(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"stra\xdfe")
    with pytest.raises(ConfigurationError, match=r"latin\.txt is not UTF-8"):
        load_vocabulary(tmp_path / "latin.txt")


def test_the_vocabulary_that_is_shipped() -> None:
    sections = load_vocabulary(Settings().vocabulary)
    words = {word for section in sections for word in section.words}
    assert 300 <= len(words) <= 500
    assert {"banana", "cup of coffee", "a beach", "a man"} <= words
    assert [section.words[0] for section in sections if section.always] == ["red"]
