"""CLIP's byte-pair vocabulary, cut to what the project's sentences use.

The cut keeps CLIP's own merges in CLIP's own order: those that build the words of the rendered world, and then the
most frequent others until the vocabulary is full. Any text can still be tokenised; words the world does not know
fall apart into small pieces. A kept word is split exactly as CLIP splits it, because every merge that leads to it
is kept and the order of merges is unchanged.
"""

import gzip
import io
from collections.abc import Iterable
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer, default_bpe

VOCABULARY_FILE = "bpe_simple_vocab.txt.gz"
VOCABULARY_SIZE = 3072
CONTEXT_LENGTH = 32

_ALPHABET = 512  # the bytes, each inside a word and at the end of one
_SPECIAL = 2  # start and end of text
_MERGES_OF_CLIP = 49152 - 256 - _SPECIAL

Merge = tuple[str, str]


def clip_merges() -> list[Merge]:
    """CLIP's merges, most frequent first."""
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : _MERGES_OF_CLIP + 1]
    return [(first, second) for first, second in map(str.split, lines)]


def cut_merges(phrases: Iterable[str]) -> list[Merge]:
    """The merges that build the words of `phrases`, filled up with the most frequent others, in CLIP's order."""
    merges = clip_merges()
    rank = {merge: place for place, merge in enumerate(merges)}
    full = SimpleTokenizer()
    # The pieces a word ends in lead back, by CLIP's own splitting of each, to the merges that made them.
    pieces = {full.decoder[token] for phrase in phrases for token in full.encode(phrase)}
    made_by = {"".join(merge): merge for merge in reversed(merges)}
    needed: set[Merge] = set()
    while pieces:
        merge = made_by.get(pieces.pop())
        if merge is not None and merge not in needed:
            needed.add(merge)
            pieces.update(merge)
    # The parts of a merge are always more frequent than the merge, so cutting the rarest leaves no part missing.
    room = VOCABULARY_SIZE - _ALPHABET - _SPECIAL
    kept = set(sorted(needed, key=rank.__getitem__)[:room])
    for merge in merges:
        if len(kept) == room:
            break
        kept.add(merge)
    return sorted(kept, key=rank.__getitem__)


def write_vocabulary(folder: Path, phrases: Iterable[str]) -> Path:
    """Writes the cut vocabulary in CLIP's own file form; the same words give the same bytes."""
    text = "\n".join(["#version: 0.2", *(f"{first} {second}" for first, second in cut_merges(phrases))])
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as file:
        file.write(text.encode())
    path = folder / VOCABULARY_FILE
    path.write_bytes(packed.getvalue())
    return path


def tokenizer(folder: Path) -> SimpleTokenizer:
    """The tokenizer of a model folder; start and end of text are the last two of its tokens."""
    return SimpleTokenizer(bpe_path=str(folder / VOCABULARY_FILE), context_length=CONTEXT_LENGTH)
