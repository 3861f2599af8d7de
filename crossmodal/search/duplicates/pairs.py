"""Pairs of near vectors among many, in steps short enough to take turns with other work.

Up to ``ALL_PAIRS`` vectors every two are compared. Beyond that only those that share a bucket of one of ``BANDS`` hash
tables: a key's bits say on which side of a random plane through the vectors' mean the vector lies (M. Charikar,
"Similarity Estimation Techniques from Rounding Algorithms", STOC 2002; tables over parts of a code: M. Norouzi, A.
Punjani and D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012). Two vectors t radians apart
differ in a bit with probability t / pi: at a cosine of 0.95 they meet in one of 32 tables of 16 bits with probability
0.998, at 0.9 with 0.94, at 0.8 with 0.56. The work is then nearly linear in the number of vectors.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.intp]
Rows = Callable[[Places], Floats]
"""Unit (or zero) vectors, float32 [m, d], of the items at the given places."""

ALL_PAIRS: Final = 16_384
BANDS: Final = 32
MAX_PAIRS: Final = 250_000
"""Pairs that are kept to make groups of; what is beyond is dropped and said to be."""
MAX_CANDIDATES: Final = 1_000_000
"""Pairs that are kept to choose from."""

_HALF = 32
_BLOCK = 512
_COLUMNS = 4096
_CHUNK = 16_384
_MAX_BUCKET = 64
_LEAST_BITS, _MOST_BITS = 12, 18


class Near:
    """The pairs found: ``left`` < ``right`` [m], and ``scores`` float32 [m], cosines."""

    def __init__(self, most: int | None = None) -> None:
        """At most ``most`` pairs are kept, ``MAX_PAIRS`` unless told otherwise."""
        self.cut = False
        self._most = MAX_PAIRS if most is None else most
        self._parts: list[tuple[Places, Places, Floats]] = []
        self._kept = 0

    def add(self, left: Places, right: Places, scores: Floats) -> None:
        """Keep pairs, as far as there is room."""
        room = self._most - self._kept
        if len(left) > room:
            self.cut = True
            left, right, scores = left[:room], right[:room], scores[:room]
        self._kept += len(left)
        self._parts.append((np.minimum(left, right), np.maximum(left, right), scores))

    def pairs(self) -> tuple[Places, Places, Floats]:
        """Each pair once, best first, equal scores by place."""
        if not self._parts:
            return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32)
        left, right, scores = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        _, first = np.unique((left << _HALF) | right, return_index=True)
        left, right, scores = left[first], right[first], scores[first]
        order = np.lexsort((right, left, -scores))
        return left[order], right[order], scores[order]


def find_near(count: int, rows: Rows, floor: float, near: Near, *, nearest: int | None = None) -> Iterator[None]:
    """Add to ``near`` the pairs among ``count`` vectors whose cosine is ``floor`` or more; a step takes some 50 ms.

    With ``nearest`` the best few of a vector are enough: about so many are added, and no more than several times that.
    """
    if count <= ALL_PAIRS:
        yield from _every_pair(count, rows, floor, near, nearest)
    else:
        yield from _by_bands(count, rows, floor, near)


def _every_pair(count: int, rows: Rows, floor: float, near: Near, nearest: int | None) -> Iterator[None]:
    for top in range(0, count, _BLOCK):
        upper = np.arange(top, min(top + _BLOCK, count))
        block = rows(upper)
        for begin in range(top, count, _COLUMNS):
            lower = np.arange(begin, min(begin + _COLUMNS, count))
            scores = block @ rows(lower).T
            near_enough = (scores >= floor) & (upper[:, None] < lower)
            if nearest is not None and nearest < len(lower):
                scores[~near_enough] = -np.inf
                near_enough &= scores >= np.partition(scores, -nearest, axis=1)[:, -nearest, None]
            left, right = np.nonzero(near_enough)
            near.add(upper[left], lower[right], scores[left, right])
            yield


def _by_bands(count: int, rows: Rows, floor: float, near: Near) -> Iterator[None]:
    bits = min(_MOST_BITS, max(_LEAST_BITS, int(np.log2(count))))
    keys = np.empty((BANDS, count), np.int32)
    blocks = [np.arange(begin, min(begin + _COLUMNS, count)) for begin in range(0, count, _COLUMNS)]
    total = 0.0
    for block in blocks:
        total = total + rows(block).sum(axis=0, dtype=np.float64)
        yield
    mean = np.asarray(total / count, np.float32)
    planes = np.random.default_rng(0).standard_normal((len(mean), BANDS * bits), np.float32)
    weights = (1 << np.arange(bits)).astype(np.int32)
    for block in blocks:
        sides = ((rows(block) - mean) @ planes > 0).reshape(len(block), BANDS, bits)
        keys[:, block] = (sides @ weights).T
        yield
    for key in keys:
        order = np.argsort(key, kind="stable")
        yield
        for apart in range(1, _MAX_BUCKET + 1):
            together = np.flatnonzero(key[order[:-apart]] == key[order[apart:]])
            if not together.size:
                break
            if apart == _MAX_BUCKET:
                near.cut = True
            for begin in range(0, len(together), _CHUNK):
                part = together[begin : begin + _CHUNK]
                left, right = order[part], order[part + apart]
                scores = np.einsum("md,md->m", rows(left), rows(right))
                fits = scores >= floor
                near.add(left[fits], right[fits], scores[fits])
                yield
