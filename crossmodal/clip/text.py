"""Texts to token ids: any string is accepted, special tokens in it are plain characters, the work is bounded.

The ids are those of OpenCLIP's own tokenizers, to which the vocabulary belongs. Around them: what a user writes cannot
become a start or end token, a text costs a bounded time however it is made, and the length before cutting is kept.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigurationError

__all__ = ["BpeTokenizer", "HubTokenizer", "TokenBatch", "Tokenizer", "adapt_tokenizer"]

RAW_CHARACTERS: Final = 32_768
"""Characters of a text that are looked at before cleaning, which shortens it (spaces, HTML entities)."""

CACHED_WORDS: Final = 20_000
"""Words whose pieces are kept; the tokenizer's own memory of them has no bound."""

_LONG_WORD: Final = 256
"""Bytes from which a word is neither kept nor taken whole: the merges take time with the square of its length."""


class TokenBatch(NamedTuple):
    """What a tokenizer makes of n texts.

    ``ids`` int64 [n, context_length], padded at the end; ``tokens`` int32 [n], the length of each text before it was cut,
    start and end included, a lower bound where ``truncated`` bool [n] says that it was cut.
    """

    ids: NDArray[np.int64]
    tokens: NDArray[np.int32]
    truncated: NDArray[np.bool_]


class Tokenizer(Protocol):
    """Turns texts into ids below ``vocab_size``, ``context_length`` of them for each."""

    context_length: int
    vocab_size: int

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Tokenize n >= 1 texts, none of them refused; an empty one gives start and end alone."""

    def describe(self) -> dict[str, object]:
        """All that decides which ids a text gets, as JSON values: for the model's fingerprint."""


class BpeTokenizer:
    """CLIP's byte-pair encoding, over an open_clip ``SimpleTokenizer`` or ``BytePairs``; over-long texts keep their beginning.

    ``special`` are its special tokens in the order of their ids, start and end first.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known_words = dict(tokenizer.cache)
        self.special = sorted(tokenizer.encoder.keys() & tokenizer.cache.keys(), key=tokenizer.encoder.__getitem__)
        self._special = _special_pattern(self.special)
        self.context_length = int(tokenizer.context_length)
        self.vocab_size = int(tokenizer.vocab_size)
        self._characters = _characters(self.context_length, tokenizer.encoder)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Tokenize n >= 1 texts; see ``Tokenizer``."""
        start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        rows = [[start, *self._encode(text), end] for text in texts]
        ids = np.zeros((len(rows), self.context_length), dtype=np.int64)
        for row, tokens in zip(ids, rows, strict=True):
            kept = tokens if len(tokens) <= self.context_length else [*tokens[: self.context_length - 1], end]
            row[: len(kept)] = kept
        if len(self._tokenizer.cache) > CACHED_WORDS:
            self._tokenizer.cache = dict(self._known_words)
        return _batch(ids, [len(tokens) for tokens in rows], texts)

    def describe(self) -> dict[str, object]:
        """Vocabulary, merges and cleaning."""
        clean = getattr(self._tokenizer.clean_fn, "__name__", "")
        merges = [" ".join(pair) for pair in self._tokenizer.bpe_ranks]
        return {"kind": "bpe", "clean": clean, "vocabulary": self._tokenizer.encoder, "merges": merges}

    def _encode(self, text: str) -> list[int]:
        cleaned = self._tokenizer.clean_fn(text[:RAW_CHARACTERS])
        cleaned = _neutralise(cleaned, self._special)[: self._characters]
        ids: list[int] = []
        for word in self._tokenizer.pat.findall(cleaned):
            symbols = "".join(self._tokenizer.byte_encoder[byte] for byte in word.encode("utf-8"))
            ids.extend(self._tokenizer.encoder[piece] for piece in self._pieces(symbols))
        return ids

    def _pieces(self, symbols: str) -> list[str]:
        """Split a word into pieces of the vocabulary; of a long word no more than fills the context several times."""
        length = _LONG_WORD
        while length < len(symbols):
            pieces = self._merge(symbols[:length])
            # The cut disturbs only the last few pieces, which the context does not reach.
            if len(pieces) > self.context_length + 16:
                return pieces
            length *= 2
        return self._merge(symbols)

    def _merge(self, symbols: str) -> list[str]:
        pieces: list[str] = self._tokenizer.bpe(symbols).split(" ")
        if len(symbols) >= _LONG_WORD:
            self._tokenizer.cache.pop(symbols, None)
        return pieces


class HubTokenizer:
    """A Hugging Face tokenizer, over an open_clip ``HFTokenizer``, which it takes over: texts reach it cleaned."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._clean = tokenizer.clean_fn
        tokenizer.clean_fn = str  # a second cleaning would turn escaped special tokens into real ones
        self._special = _special_pattern(tokenizer.tokenizer.all_special_tokens)
        self._vocabulary: dict[str, int] = tokenizer.tokenizer.get_vocab()
        self.context_length = int(tokenizer.context_length)
        self.vocab_size = max(self._vocabulary.values()) + 1
        self._characters = _characters(self.context_length, self._vocabulary)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Tokenize n >= 1 texts; see ``Tokenizer``."""
        cleaned = [self._prepare(text) for text in texts]
        ids = self._tokenizer(cleaned).numpy().astype(np.int64, copy=False)
        clips = self._tokenizer.tokenizer_mode == "clips"  # which adds start, end and class token itself
        uncut = self._tokenizer.tokenizer(cleaned, add_special_tokens=not clips, padding=False, truncation=False)
        return _batch(ids, [len(row) + 3 * clips for row in uncut["input_ids"]], texts)

    def describe(self) -> dict[str, object]:
        """Vocabulary, cleaning and what OpenCLIP does to the ids."""
        return {
            "kind": "hub",
            "class": type(self._tokenizer.tokenizer).__name__,
            "clean": getattr(self._clean, "__name__", ""),
            "mode": self._tokenizer.tokenizer_mode,
            "strip_sep_token": bool(self._tokenizer.strip_sep_token),
            "vocabulary": self._vocabulary,
        }

    def _prepare(self, text: str) -> str:
        return _neutralise(self._clean(text[:RAW_CHARACTERS]), self._special)[: self._characters]


def adapt_tokenizer(tokenizer: Any) -> Tokenizer:
    """Wrap what ``open_clip.get_tokenizer`` gives. Raises ConfigurationError for a class that is not known here."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    if isinstance(tokenizer, SimpleTokenizer):
        return BpeTokenizer(tokenizer)
    if isinstance(tokenizer, HFTokenizer):
        return HubTokenizer(tokenizer)
    raise ConfigurationError(f"Tokenizers of class {type(tokenizer).__name__} are not supported.")


def _batch(ids: NDArray[np.int64], lengths: Sequence[int], texts: Sequence[str]) -> TokenBatch:
    tokens = np.asarray(lengths, dtype=np.int32)
    unread = np.asarray([len(text) > RAW_CHARACTERS for text in texts], dtype=np.bool_)
    return TokenBatch(ids=ids, tokens=tokens, truncated=(tokens > ids.shape[1]) | unread)


def _characters(context_length: int, vocabulary: Iterable[str]) -> int:
    """Characters of a cleaned text that surely fill the context: no piece is longer than the longest entry."""
    return context_length * (max(map(len, vocabulary)) + 1)


def _special_pattern(special: Iterable[str]) -> re.Pattern[str] | None:
    tokens = sorted((re.escape(token) for token in special if len(token) > 1), key=len, reverse=True)
    return re.compile("|".join(tokens), re.IGNORECASE) if tokens else None


def _neutralise(text: str, special: re.Pattern[str] | None) -> str:
    """Break each special token after its first character: ``<end_of_text>`` becomes ``< end_of_text>``."""
    return special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) if special else text
