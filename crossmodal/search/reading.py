"""Texts to embeddings, with what the model read of them said: cut where its context ends, or read whole in pieces.

Only the model's process has the tokenizer, and it may be another machine. So a text is cut without one: what comes back
as truncated is divided further and embedded again, until everything was read or there are pieces enough.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmodal.clip.base import TextEmbeddings
from crossmodal.encoder import Encoder, Lane
from crossmodal.errors import PayloadTooLarge
from crossmodal.metering import charge
from crossmodal.records import Embedding, Embeddings, LongText
from crossmodal.search.texts import check_text, says_something

MAX_PIECES = 128
"""A text is read in at most so many pieces: 10,000 characters of English are 30 of 77 tokens, 110 of 32."""
MAX_REQUEST_PIECES = 2048
"""So many pieces of all texts of a request are embedded, those that turned out too long among them."""

_SLACK = 1.25
"""Pieces end at sentences and words, so they are of unlike length: a few more make most of them fit at once."""
_ENDS = 2
"""Tokens of a piece that are none of its text: start and end."""
_SENTENCE = re.compile(r"""[.!?…]["'”’)\]]*\s+|[。！？]|\n+""")  # noqa: RUF001 -- sentences end so in Chinese and Japanese
_WORD = re.compile(r"\s+")
_NO_DIRECTION = 1e-6


class ReadTexts(NamedTuple):
    """Embeddings of n texts, float32 [n, dim] of unit length, and what the model read of them.

    ``tokens_used`` int32 [n] counts the tokens it read, start and end of each piece included; ``truncated`` bool [n] says
    that there was more, which it did not read.
    """

    embeddings: Embeddings
    tokens_used: NDArray[np.int32]
    truncated: NDArray[np.bool_]


class TextReader:
    """Checks and embeds texts for all use cases of a process."""

    def __init__(self, encoder: Encoder, *, max_text_chars: int) -> None:
        self._encoder = encoder
        self._max_text_chars = max_text_chars

    def check(self, text: str) -> str:
        """Return ``text`` if it may be embedded. Raises what ``check_text`` raises."""
        return check_text(text, max_chars=self._max_text_chars)

    async def embed(
        self, texts: Sequence[str], long_text: LongText = "truncate", lane: Lane = Lane.INTERACTIVE
    ) -> ReadTexts:
        """Embed n checked texts. Those over the model's context are cut, or with ``split`` read in pieces.

        A text in pieces has the mean of their embeddings, weighted by their tokens, as a unit vector. The pieces are
        charged here, the texts themselves by whoever took them in. Raises what the encoder raises, and
        ``PayloadTooLarge`` if the texts together would need more than ``MAX_REQUEST_PIECES``.
        """
        answer = await self._encoder.embed_texts(texts, lane)
        context = (await self._encoder.info()).context_length
        whole = ReadTexts(answer.embeddings, np.minimum(answer.tokens, context), answer.truncated)
        if long_text == "truncate" or not whole.truncated.any():
            return whole
        # The encoder's arrays may be views of what it received.
        whole = ReadTexts(whole.embeddings.copy(), whole.tokens_used, whole.truncated.copy())
        divided = {
            place: _Divided(context, [_Piece(text, *_row(answer, place))])
            for place, text in enumerate(texts)
            if answer.truncated[place]
        }
        await self._read(list(divided.values()), lane)
        for place, text in divided.items():
            whole.embeddings[place] = text.embedding
            whole.tokens_used[place] = text.tokens_used
            whole.truncated[place] = text.truncated
        return whole

    async def _read(self, texts: Sequence["_Divided"], lane: Lane) -> None:
        """Divide and embed until nothing is left to divide."""
        left = MAX_REQUEST_PIECES
        while pieces := [piece for text in texts for piece in text.divide()]:
            left -= len(pieces)
            if left < 0:
                raise PayloadTooLarge(
                    f"the long texts of this request make more than {MAX_REQUEST_PIECES} pieces together; send fewer at a time"
                )
            charge(items=len(pieces))
            answer = await self._encoder.embed_texts([piece.text for piece in pieces], lane)
            for place, piece in enumerate(pieces):
                piece.embedding, piece.tokens, piece.truncated = _row(answer, place)


def _row(answer: TextEmbeddings, place: int) -> tuple[Embedding, int, bool]:
    """What the model made of one of the texts."""
    return answer.embeddings[place], int(answer.tokens[place]), bool(answer.truncated[place])


_UNREAD: Embedding = np.empty(0, dtype=np.float32)


@dataclass(slots=True, eq=False)
class _Piece:
    """A part of a text; ``tokens`` is a lower bound where it is ``truncated``."""

    text: str
    embedding: Embedding = field(default_factory=lambda: _UNREAD)
    tokens: int = 0
    truncated: bool = False


class _Divided:
    """A text that the model cannot read at once, as its pieces in their order."""

    def __init__(self, context: int, pieces: list[_Piece]) -> None:
        self._context = context
        self._pieces = pieces

    def divide(self) -> list[_Piece]:
        """Put shorter pieces in the place of those that are too long; returns the new ones, which are to be embedded."""
        room = MAX_PIECES - len(self._pieces)
        left = sum(piece.truncated for piece in self._pieces)
        pieces: list[_Piece] = []
        fresh: list[_Piece] = []
        for piece in self._pieces:
            parts = [piece.text]
            if piece.truncated:
                share = room // left
                left -= 1
                parts = pieces_of(piece.text, min(self._needed(piece), share + 1))
                room -= len(parts) - 1
            if parts == [piece.text]:
                pieces.append(piece)
            else:
                new = [_Piece(part) for part in parts]
                pieces += new
                fresh += new
        self._pieces = pieces
        return fresh

    @property
    def embedding(self) -> Embedding:
        """The mean of the pieces' embeddings, weighted by the tokens read, float32 of unit length."""
        weights = np.array(self._read, dtype=np.float64)
        mean = weights @ np.stack([piece.embedding for piece in self._pieces]).astype(np.float64) / weights.sum()
        norm = float(np.linalg.norm(mean))
        if norm < _NO_DIRECTION:  # the pieces cancel out: the one with most to say stands for all
            return self._pieces[int(weights.argmax())].embedding
        unit: Embedding = (mean / norm).astype(np.float32)
        return unit

    @property
    def tokens_used(self) -> int:
        """Tokens the model read of all pieces."""
        return sum(self._read)

    @property
    def truncated(self) -> bool:
        """Whether a piece is still too long."""
        return any(piece.truncated for piece in self._pieces)

    @property
    def _read(self) -> list[int]:
        return [min(piece.tokens, self._context) for piece in self._pieces]

    def _needed(self, piece: _Piece) -> int:
        content, capacity = max(1, piece.tokens - _ENDS), max(1, self._context - _ENDS)
        return max(2, math.ceil(_SLACK * content / capacity))


def pieces_of(text: str, count: int) -> list[str]:
    """Cut ``text`` into about ``count`` parts of like length, at ends of sentences where there are some near, else of words.

    Parts that hold nothing to be seen are left out; with ``count`` 1 or less the text comes back as it is.
    """
    count = min(count, len(text))
    if count <= 1:
        return [text]
    reach = len(text) // (4 * count)
    cuts = [_cut(text, round(number * len(text) / count), reach) for number in range(1, count)]
    parts = [text[start:end].strip() for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [part for part in parts if says_something(part)]


def _cut(text: str, middle: int, reach: int) -> int:
    """The best place to cut within ``reach`` of ``middle``."""
    for boundary in (_SENTENCE, _WORD):
        ends = [found.end() for found in boundary.finditer(text, middle - reach, middle + reach)]
        if ends:
            return min(ends, key=lambda end: abs(end - middle))
    return middle
