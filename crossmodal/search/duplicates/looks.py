"""Which pictures look the same: whole frames first, then crops among those that mean nearly the same.

The limits were chosen on rendered scenes of one seed and measured on others: docs/adr/0015-duplicates.md. They say how
two pictures look, so they do not depend on the model.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from crossmodal.search.duplicates.appearance import FLAT_CHANGE, Floats, Looks, Places, colour_change, windows
from crossmodal.search.duplicates.grouping import grouped
from crossmodal.search.duplicates.pairs import ALL_PAIRS, MAX_CANDIDATES, Near, Rows, find_near
from crossmodal.search.duplicates.wanted import Linkage

FRAME_AT_LEAST: Final = 0.85
"""Correlation of two whole pictures that are copies of each other."""
PART_AT_LEAST: Final = 0.93
"""Correlation of a picture and the part of another it is a crop of: more, for there are many parts to choose from."""
BRIDGE_AT_LEAST: Final = 0.9
"""The same between two pictures that a chain of copies joins already, as a crop and a recoloured copy of one original."""
COLOUR_AT_MOST: Final = 20.0
"""Levels of 255 by which the colours of copies differ, saturation apart."""
MAX_CROPS: Final = 12_000
CROP_SECONDS: Final = 25.0
"""Pairs that are looked at for crops, 1 ms each, and the time there is for it; the rest is left out and said to be."""

_NEIGHBOURS = 8
_FLOOR_OF_MANY = 0.85
_CHUNK = 32
_VECTOR_CHUNK = 4096
_COLOUR_CHUNK = 2048
_SMALL = 24
_MAX_FLAT = 4096
_WHOLE = np.array([[0, 0, 1, 1]], np.float32)


class Lookalikes:
    """Finds the pairs among pictures; ``near`` has them when ``steps`` is through, with their correlations as scores."""

    def __init__(self, looks: Looks, threshold: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """``threshold`` replaces the least correlations where it is given."""
        self._looks = looks
        self._frame = FRAME_AT_LEAST if threshold is None else threshold
        self._part = PART_AT_LEAST if threshold is None else threshold
        self._bridge = BRIDGE_AT_LEAST if threshold is None else threshold
        self._missed = Near()
        self.near = Near()
        self._seen: set[tuple[int, int]] = set()
        self._left_to_crop = MAX_CROPS
        self._clock = clock
        self._until = 0.0

    def steps(self, embeddings: Rows, floor: float) -> Iterator[None]:
        """Look for all of them; crops among pictures whose ``embeddings`` have a cosine of ``floor`` or more."""
        yield from self._whole_frames()
        close = Near(MAX_CANDIDATES)
        if len(self._looks) > ALL_PAIRS:
            floor = max(floor, _FLOOR_OF_MANY)
        yield from find_near(len(self._looks), embeddings, floor, close, nearest=_NEIGHBOURS)
        self.near.cut |= close.cut
        left, right, _ = close.pairs()
        self._until = self._clock() + CROP_SECONDS
        yield from self._crops(*_nearest(left, right))
        # What copies of the same have in common shows where two of them were not met: a crop and a recoloured one.
        one, other = self._gaps()
        self._close_gaps(one, other)
        self._part = self._bridge
        yield from self._crops(one, other)

    def _whole_frames(self) -> Iterator[None]:
        found = Near()
        # Made once: a vector is asked for dozens of times, and costs more to make than to keep, 1 KB of half precision.
        halves = np.empty((len(self._looks), self._looks.length), np.float16)
        for begin in range(0, len(halves), _VECTOR_CHUNK):
            places = np.arange(begin, min(begin + _VECTOR_CHUNK, len(halves)))
            halves[places] = self._looks.vectors(places)
            yield
        yield from find_near(len(halves), lambda places: halves[places].astype(np.float32), self._frame, found)
        self._add_flat(found)
        self.near.cut |= found.cut
        left, right, scores = found.pairs()
        for begin in range(0, len(left), _COLOUR_CHUNK):
            part = slice(begin, begin + _COLOUR_CHUNK)
            whole = np.repeat(_WHOLE, len(left[part]), axis=0)
            fits = colour_change(self._looks, left[part], right[part], whole) <= COLOUR_AT_MOST
            self._keep(left[part][fits], right[part][fits], scores[part][fits])
            yield

    def _add_flat(self, found: Near) -> None:
        """Pictures of one colour have no outlines to correlate."""
        flat = self._looks.flat()
        if len(flat) > _MAX_FLAT:
            flat, found.cut = flat[:_MAX_FLAT], True
        means = self._looks.means(flat)
        for row, place in enumerate(flat):
            equal = np.flatnonzero((np.abs(means[row + 1 :] - means[row]) <= FLAT_CHANGE).all(axis=1)) + row + 1
            found.add(np.full(len(equal), place), flat[equal], np.ones(len(equal), np.float32))

    def _crops(self, left: Places, right: Places) -> Iterator[None]:
        new = np.array([pair not in self._seen for pair in zip(left.tolist(), right.tolist(), strict=True)], bool)
        left, right = left[new], right[new]
        if len(left) > self._left_to_crop:
            self.near.cut = True
            left, right = left[: self._left_to_crop], right[: self._left_to_crop]
        self._left_to_crop -= len(left)
        self._seen.update(zip(left.tolist(), right.tolist(), strict=True))
        for begin in range(0, len(left), _CHUNK):
            if self._clock() > self._until:
                self.near.cut = True
                return
            part = slice(begin, begin + _CHUNK)
            for whole, piece in ((left[part], right[part]), (right[part], left[part])):
                scores, at = windows(self._looks, whole, piece)
                fits = scores >= self._bridge
                fits[fits] = colour_change(self._looks, whole[fits], piece[fits], at[fits]) <= COLOUR_AT_MOST
                enough = fits & (scores >= self._part)
                self._keep(whole[enough], piece[enough], scores[enough])
                self._missed.add(whole[fits & ~enough], piece[fits & ~enough], scores[fits & ~enough])
                yield

    def _close_gaps(self, left: Places, right: Places) -> None:
        """Keep those of the pairs that only just missed."""
        gaps = set(zip(left.tolist(), right.tolist(), strict=True))
        one, other, scores = self._missed.pairs()
        inside = np.array([pair in gaps for pair in zip(one.tolist(), other.tolist(), strict=True)], bool)
        self._keep(one[inside], other[inside], scores[inside])

    def _gaps(self) -> tuple[Places, Places]:
        """Pairs of each chain of copies, as far as it is short."""
        left, right, _ = self.near.pairs()
        chains = grouped(zip(left.tolist(), right.tolist(), strict=True), Linkage.CONNECTED)
        pairs = [
            (one, other)
            for chain in chains
            if len(chain) <= _SMALL
            for place, one in enumerate(chain)
            for other in chain[place + 1 :]
        ]
        columns = np.array(pairs, np.intp).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]

    def _keep(self, left: Places, right: Places, scores: Floats) -> None:
        self.near.add(left, right, scores)
        self._seen.update(zip(np.minimum(left, right).tolist(), np.maximum(left, right).tolist(), strict=True))


def _nearest(left: Places, right: Places) -> tuple[Places, Places]:
    """Of pairs, best first, those among the first few of either of the two."""
    met: dict[int, int] = {}
    kept = []
    for place, (one, other) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        few = min(met.get(one, 0), met.get(other, 0)) < _NEIGHBOURS
        if few:
            kept.append(place)
            met[one], met[other] = met.get(one, 0) + 1, met.get(other, 0) + 1
    return left[kept], right[kept]
