"""CLIP's byte-pair encoding without OpenCLIP, whose import takes seconds: from an exported vocabulary to the same ids.

Offers what ``BpeTokenizer`` reads of an open_clip ``SimpleTokenizer``, under the same names. The method is that of
Sennrich et al. 2016 (arXiv:1508.07909) over bytes, as in Radford et al. 2019; cleaning is by ftfy and html.unescape.
"""

import html
import string
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import ftfy
import regex

__all__ = ["CLEANING", "BytePairs"]

_WORD_END: Final = "</w>"
_WORDS: Final = regex.compile(r"'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
_PRINTABLE: Final = (range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100))
"""Bytes that stand for themselves in the vocabulary; the others take the characters from U+0100 on."""


class BytePairs:
    """Vocabulary and merges. ``cache`` maps words to their pieces, and at the start special tokens to themselves.

    ``vocabulary`` maps each piece to its id, ``merges`` are pairs of pieces, the first to be joined first, ``special`` the
    special tokens, start and end before others, ``clean`` the name of a way to clean texts. ValueError or KeyError for
    what cannot be meant.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[str],
        *,
        special: Sequence[str],
        clean: str,
        context_length: int,
    ) -> None:
        self.byte_encoder = _byte_characters()
        self.encoder = dict(vocabulary)
        self.bpe_ranks: dict[tuple[str, ...], int] = {tuple(pair.split(" ")): rank for rank, pair in enumerate(merges)}
        self.cache = {token: token for token in special}
        self.pat = _WORDS
        self.clean_fn = CLEANING[clean]
        self.sot_token_id, self.eot_token_id = (self.encoder[token] for token in special[:2])
        self.context_length = context_length
        self.vocab_size = len(self.encoder)
        lacking = [piece for byte in self.byte_encoder.values() for piece in (byte, byte + _WORD_END)]
        if not self.encoder.keys() >= set(lacking):
            raise ValueError("the vocabulary lacks pieces of one byte")

    def bpe(self, word: str) -> str:
        """Split ``word``, one character for a byte, into pieces of the vocabulary, joined by spaces."""
        known = self.cache.get(word)
        if known is not None:
            return known
        pieces = [*word[:-1], word[-1] + _WORD_END]
        never = len(self.bpe_ranks)
        while len(pieces) > 1:
            first = min(pairwise(pieces), key=lambda pair: self.bpe_ranks.get(pair, never))
            if first not in self.bpe_ranks:
                break
            pieces = _joined(pieces, *first)
        self.cache[word] = " ".join(pieces)
        return self.cache[word]


def _joined(pieces: Sequence[str], left: str, right: str) -> list[str]:
    """Join every ``left`` that ``right`` follows, from the beginning on."""
    joined: list[str] = []
    position = 0
    while position < len(pieces):
        both = pieces[position] == left and pieces[position + 1 : position + 2] == [right]
        joined.append(left + right if both else pieces[position])
        position += 2 if both else 1
    return joined


def _byte_characters() -> dict[int, str]:
    printable = [byte for each in _PRINTABLE for byte in each]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}


def _mended(text: str) -> str:
    """Wrong encodings mended, HTML entities read, twice for those that were escaped twice."""
    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _clean_whitespace(text: str) -> str:
    return " ".join(_mended(text).split())


def _clean_lower(text: str) -> str:
    return _clean_whitespace(text).lower()


def _clean_canonicalize(text: str) -> str:
    """Without punctuation, as SigLIP's texts are."""
    plain = _mended(text).replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(plain.lower().split())


CLEANING: Final[dict[str, Callable[[str], Any]]] = {
    # The names OpenCLIP's functions have: they stand in fingerprints.
    clean.__name__: clean
    for clean in (_clean_whitespace, _clean_lower, _clean_canonicalize)
}
"""Ways to clean texts, by name."""
