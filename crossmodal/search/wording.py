"""One sentence about a picture, as a reader of screens would want it, out of captions and tags; honest about where from."""

import re
from collections.abc import Sequence

NOTHING_FITS = "No description fits: nothing similar is indexed."
_MAX_CHARS = 200
_WORDS = re.compile(r"\w+")


def sentence_of(captions: Sequence[str], tags: Sequence[str]) -> str:
    """The best caption and those tags that it does not say, or the tags alone, or that nothing fits."""
    caption = next((cleaned for each in captions if (cleaned := _cleaned(each))), "")
    said = set(_stems(caption))
    more = [tag for tag in tags if not said.issuperset(_stems(tag))]
    if caption:
        end = "" if caption.endswith("…") else "."
        return f"Probably: {caption}{end}" + (f" Also fits: {', '.join(more)}." if more else "")
    return f"No caption fits; words that do: {', '.join(tags)}." if tags else NOTHING_FITS


def _cleaned(caption: str) -> str:
    """In one line, without its full stop, cut between words after 200 characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in caption).split())
    if len(line) <= _MAX_CHARS:
        return line.rstrip(".")
    beginning = line[:_MAX_CHARS]
    return (beginning.rpartition(" ")[0] or beginning).rstrip(",;:. ") + "…"


def _stems(text: str) -> list[str]:
    """Its words, singular and plural alike as far as an s or es makes them."""
    return [re.sub(r"(?<=\w\w)e?s$", "", word) for word in _WORDS.findall(text.lower())]
