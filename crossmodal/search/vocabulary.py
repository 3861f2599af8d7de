"""The words that pictures are tagged with: sections of words that compete with each other, read from a text file."""

from dataclasses import dataclass
from pathlib import Path

from crossmodal.errors import ClientError, ConfigurationError
from crossmodal.search.texts import check_text

MAX_WORDS = 10_000
_MAX_CHARS = 100


@dataclass(frozen=True, slots=True)
class Section:
    """Words of one kind. With ``always`` one of them is true of every picture, as a colour is; otherwise none need be."""

    words: tuple[str, ...]
    always: bool = False


def load_vocabulary(file: Path) -> tuple[Section, ...]:
    """The sections of ``file``, in UTF-8: a word or a few a line; lines of `#` are comments, `[any]` and `[one]` begin sections.

    What stands before the first heading is an `[any]`. Raises ``ConfigurationError``, one line, for a file that cannot be
    read or holds no word, a word that stands twice in a section, an unknown heading and a section without words.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8") from None
    try:
        return _sections(lines)
    except ClientError as fault:
        raise ConfigurationError(f"{file}, line {fault.loc[0]}: {fault.detail}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}{error.detail}") from None


def _sections(lines: list[str]) -> tuple[Section, ...]:
    found: list[tuple[bool, list[str]]] = [(False, [])]
    first: dict[str, int] = {}
    for number, raw in enumerate(lines, 1):
        line = " ".join(raw.split())
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if line not in {"[any]", "[one]"}:
                raise ConfigurationError(f", line {number}: the heading is [any] or [one], not {line[:40]!r}")
            found.append((line == "[one]", []))
            first = {}  # an orange may be a fruit and a colour
            continue
        try:
            found[-1][1].append(check_text(line, max_chars=_MAX_CHARS))
        except ClientError as fault:
            raise fault.under(number) from None
        if first.setdefault(line, number) != number:
            raise ConfigurationError(f", line {number}: {line!r} stands in line {first[line]} already")
    count = sum(len(words) for _, words in found)
    if not 1 <= count <= MAX_WORDS:
        raise ConfigurationError(f" has {count} words; 1 to {MAX_WORDS} are allowed")
    sections = tuple(Section(tuple(words), always) for place, (always, words) in enumerate(found) if words or place)
    if not all(section.words for section in sections):
        raise ConfigurationError(" has a section without words")
    return sections
