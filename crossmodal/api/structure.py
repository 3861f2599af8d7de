"""How much structure a JSON text may have, checked before it is parsed.

Two bytes of text, such as ``[]``, become a value of 56 bytes and more in memory, so a limit of bytes alone would let 20
MiB of them take ten times and more of that; and a reader that follows nesting without bound ends the process.
"""

import re
from itertools import accumulate

from crossmodal.errors import MalformedBody, PayloadTooLarge

MAX_DEPTH = 32
"""Levels of nesting. Filters and metadata, the deepest that is taken, need about a dozen."""

MAX_SEPARATORS = 200_000
"""Brackets opened, commas and colons outside of strings: 1000 items with 64 fields of metadata each have 135,000."""

# Possessive, and matching an unfinished string to the end of the text: every byte is looked at once.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_structure(text: bytes) -> None:
    """Refuse JSON that is nested too deeply or holds too many values; whether it is JSON at all is not asked.

    Raises ``MalformedBody`` over ``MAX_DEPTH``, ``PayloadTooLarge`` over ``MAX_SEPARATORS``.
    """
    if _opened(text) <= MAX_DEPTH and _separators(text) <= MAX_SEPARATORS:
        return  # as most bodies are, large pictures in base64 among them
    # Between two strings of JSON stands a separator, so more strings than this need not be taken out to know.
    bare, strings = _STRING.subn(b"", text, count=MAX_SEPARATORS + 2)
    if strings > MAX_SEPARATORS + 1 or _separators(bare) > MAX_SEPARATORS:
        raise PayloadTooLarge(
            f"the JSON has more than {MAX_SEPARATORS} brackets, commas and colons, which is the limit"
        )
    if _opened(bare) > MAX_DEPTH and _depth(bare) > MAX_DEPTH:
        raise MalformedBody(f"the JSON is nested too deeply: at most {MAX_DEPTH} levels are read")


def _opened(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _separators(text: bytes) -> int:
    return _opened(text) + text.count(b",") + text.count(b":")


def _depth(bare: bytes) -> int:
    brackets = bare.translate(None, _NO_BRACKETS)
    return max(accumulate(_STEPS[byte] for byte in brackets))
