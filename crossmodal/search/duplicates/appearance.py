"""Whether one picture is a near copy of another, by their signatures: the same frame, or one a part of the other.

The measure is the correlation of the gradients of their brightness (zero-mean normalised cross-correlation, J. Lewis,
"Fast Normalized Cross-Correlation", 1995; of gradients, so that outlines count and not how much is light or dark), -1 to
1, which brightness and contrast do not change. For frames it is the cosine of the
coefficients (Parseval). For a part it is the best over windows of the larger picture. A crop cuts off sides but stretches
nothing, so a window has the shape of the smaller picture: what is left to find is its size and place. That is what tells
a crop from the same things arranged anew.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crossmodal.imaging.signature import (
    COLOUR_KEPT,
    COLOUR_WAVES,
    FREQUENCIES,
    KEPT,
    LAYOUT,
    PER_LEVEL,
    PER_LOG,
    STEP,
    WAVES,
    cosines,
)

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

SMALLEST_PART: Final = 0.6
"""The least part of a side that a crop leaves."""
FLAT: Final = 2.0
"""Standard deviation of brightness, in levels of 255, below which there is nothing to correlate."""
FLAT_CHANGE: Final = 4.0
"""Levels of 255 by which the means of two flat pictures may differ."""

_COARSE_WAVES = 12
_COARSE_STEP = 0.04
_COARSE_SIZES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65)
_WORTH_REFINING = (0.6, 0.75)
_STEPS = 5
_NUDGE = 0.004
_LONGEST_STEP = 0.04
_TINY = 1e-6
_FLAT_CHUNK = 4096
_GREY = np.float32(128)


class Looks:
    """The signatures of n pictures, 607 bytes each; what is asked for is computed from them."""

    def __init__(self, signatures: Sequence[bytes]) -> None:
        """``signatures`` are such as ``is_signature`` is true of."""
        self._records = np.frombuffer(b"".join(signatures), LAYOUT)
        self.aspects: Floats = np.exp(self._records["aspect"].astype(np.float32) / PER_LOG)

    @property
    def length(self) -> int:
        """Coefficients of a vector."""
        return len(FREQUENCIES)

    def __len__(self) -> int:
        return len(self._records)

    def vectors(self, places: Places | slice) -> Floats:
        """Brightness of the pictures at ``places``, float32 [m, 527]: gradients' coefficients, of unit length, or 0 if flat."""
        records, aspects = self._records[places], np.sqrt(self.aspects[places])[:, None]
        values = records["brightness"].astype(np.float32) * (records["scale"][:, None] / np.float32(PER_LEVEL * STEP))
        values /= FREQUENCIES
        flat = np.square(values).sum(axis=1, keepdims=True) < FLAT**2
        values *= np.hypot(KEPT[0] * aspects, KEPT[1] / aspects)  # by pixels: both axes in the same unit
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        return np.where(flat, 0, values / np.maximum(lengths, _TINY)).astype(np.float32)

    def flat(self) -> Places:
        """Places of the pictures that have no outlines."""
        chunks = [np.arange(begin, min(begin + _FLAT_CHUNK, len(self))) for begin in range(0, len(self), _FLAT_CHUNK)]
        found = [chunk[~self.vectors(chunk).any(axis=1)] for chunk in chunks]
        return np.concatenate(found) if found else np.empty(0, np.intp)

    def grids(self, places: Places) -> Floats:
        """The same by row and column, float32 [m, 32, 32]."""
        grids = np.zeros((len(places), WAVES, WAVES), np.float32)
        grids[:, *KEPT] = self.vectors(places)
        return grids

    def means(self, places: Places) -> Floats:
        """Mean Y, Cb and Cr, float32 [m, 3]."""
        means: Floats = self._records["mean"][places].astype(np.float32)
        return means

    def colours(self, places: Places) -> Floats:
        """Coefficients of Cb and Cr in levels about grey, by row and column: float32 [m, 2, 8, 8]."""
        records = self._records[places]
        grids = np.zeros((len(places), 2, COLOUR_WAVES, COLOUR_WAVES), np.float32)
        grids[:, :, 0, 0] = self.means(places)[:, 1:] - _GREY
        scale = records["colour_scale"][:, None, None] / np.float32(PER_LEVEL * STEP)
        grids[:, :, *COLOUR_KEPT] = records["colour"].astype(np.float32) * scale
        return grids


def _between(count: int) -> Floats:
    return ((np.arange(count) + 0.5) / count).astype(np.float32)


def _unit(fields: NDArray[Any]) -> Floats:
    """``fields`` [..., n, n] less their mean, of unit length."""
    centred = fields - fields.mean(axis=(-2, -1), keepdims=True)
    lengths = np.sqrt(np.square(centred).sum(axis=(-2, -1), keepdims=True))
    unit: Floats = centred / np.maximum(lengths, _TINY)
    return unit


def windows(looks: Looks, whole: Places, part: Places) -> tuple[Floats, Floats]:
    """Best correlation [m] of pictures ``part`` with windows of pictures ``whole``, and those windows [m, 4].

    A window is (left, top, width, height) in parts of the whole. 0 where the shapes leave no window.
    """
    ratio = looks.aspects[part] / looks.aspects[whole]
    shape = np.stack([np.minimum(ratio, 1), np.minimum(1 / ratio, 1)], axis=1)
    found, best = _coarse(looks, whole, part, shape)
    for least in _WORTH_REFINING:
        fits = np.flatnonzero(found >= least)
        if fits.size:
            found[fits], best[fits] = _refined(looks, whole[fits], part[fits], shape[fits], best[fits])
    size = best[:, :1] * shape
    return found, np.concatenate([best[:, 1:], size], axis=1)


def _coarse(looks: Looks, whole: Places, part: Places, shape: Floats) -> tuple[Floats, Floats]:
    """Best on a grid of sizes and places: correlation [m] and (size, left, top) [m, 3]."""
    waves = _COARSE_WAVES
    grids = looks.grids(whole)[:, :waves, :waves]
    wave = cosines(_between(waves), waves)
    wanted = _unit(wave @ looks.grids(part)[:, :waves, :waves] @ wave.T)
    found, best = np.zeros(len(whole), np.float32), np.tile(np.array([1, 0, 0], np.float32), (len(whole), 1))
    for size in _COARSE_SIZES:
        sides = size * shape  # [m, 2]: width, height
        steps = int(np.ceil((1 - size) / _COARSE_STEP)) + 1
        starts = [np.linspace(0, 1, steps, dtype=np.float32)[None, :] * (1 - sides[:, axis, None]) for axis in (0, 1)]
        across, down = (
            cosines(starts[axis][:, :, None] + sides[:, axis, None, None] * _between(waves), waves) for axis in (0, 1)
        )
        scores = _scores(down @ grids[:, None], across, wanted).reshape(len(whole), steps * steps)
        top = scores.argmax(axis=1)
        better = (scores.max(axis=1) > found) & (sides.min(axis=1) >= SMALLEST_PART)
        every = np.arange(len(whole))
        place = np.stack([np.full(len(whole), size), starts[0][every, top % steps], starts[1][every, top // steps]], 1)
        found = np.where(better, scores.max(axis=1), found)
        best = np.where(better[:, None], place, best).astype(np.float32)
    return found, best


def _scores(rows: Floats, across: Floats, wanted: Floats) -> Floats:
    """Correlations [m, i, j] of ``wanted`` [m, p, q] with the fields ``rows`` [m, i, p, v] times ``across`` [m, j, q, v].

    No field is made: its product with another, its square and its mean come out of products of the two factors, which is
    a tenth of the work.
    """
    many, steps = rows.shape[:2]
    flat = (many, steps, -1)
    products = rows.reshape(flat) @ (wanted[:, None] @ across).reshape(flat).swapaxes(1, 2)
    rows_squared, across_squared = (each.swapaxes(-1, -2) @ each for each in (rows, across))
    squares = rows_squared.reshape(flat) @ across_squared.reshape(flat).swapaxes(1, 2)
    means = rows.mean(axis=2) @ across.mean(axis=2).swapaxes(1, 2)
    points = rows.shape[2] * across.shape[2]
    scores: Floats = products / np.sqrt(np.maximum(squares - points * np.square(means), _TINY))
    return scores


def _refined(looks: Looks, whole: Places, part: Places, shape: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Move windows from ``start`` [m, 3] uphill: Gauss-Newton on the difference of the two unit fields."""
    wave = cosines(_between(WAVES), WAVES)
    grids = looks.grids(whole)
    # What the whole's signature has lost of so small a window, the part's must not be asked for either.
    orders = np.arange(WAVES, dtype=np.float32)
    sides = start[:, :1] * shape
    down, across = orders / sides[:, 1, None], orders / sides[:, 0, None]
    seen = down[:, :, None] + across[:, None, :] < WAVES
    wanted = _unit(wave @ (looks.grids(part) * seen) @ wave.T)

    def fields(at: Floats) -> Floats:
        sides = at[:, :1] * shape
        across, down = (
            cosines(at[:, 1 + axis, None] + sides[:, axis, None] * _between(WAVES), WAVES) for axis in (0, 1)
        )
        return _unit(down @ grids @ across.swapaxes(-1, -2))

    best = _bounded(start, shape)
    field = fields(best)
    found = np.einsum("mpq,mpq->m", field, wanted)
    damping = np.full(len(whole), 1e-3, np.float32)
    for _ in range(_STEPS):
        slopes = np.stack([(fields(best + nudge) - field) / np.float32(_NUDGE) for nudge in _NUDGES], axis=1)
        slopes = slopes.reshape(len(whole), 3, -1)
        push = np.einsum("mkp,mp->mk", slopes, (wanted - field).reshape(len(whole), -1))
        curvature = slopes @ slopes.swapaxes(1, 2)
        curvature += (damping[:, None] * np.trace(curvature, axis1=1, axis2=2)[:, None] + _TINY)[:, :, None] * np.eye(3)
        step = np.clip(np.linalg.solve(curvature, push[..., None])[..., 0], -_LONGEST_STEP, _LONGEST_STEP)
        tried = _bounded(best + step.astype(np.float32), shape)
        tried_field = fields(tried)
        score = np.einsum("mpq,mpq->m", tried_field, wanted)
        better = score > found
        best, found = np.where(better[:, None], tried, best), np.where(better, score, found)
        field = np.where(better[:, None, None], tried_field, field)
        damping = np.where(better, damping / 3, damping * 10).astype(np.float32)
    return found, best


_NUDGES = np.eye(3, dtype=np.float32) * np.float32(_NUDGE)


def _bounded(at: Floats, shape: Floats) -> Floats:
    """Windows [m, 3] within the picture and not too small."""
    size = np.clip(at[:, 0], SMALLEST_PART / shape.min(axis=1).clip(SMALLEST_PART), 1)
    room = 1 - size[:, None] * shape
    bounded: Floats = np.concatenate([size[:, None], np.clip(at[:, 1:], 0, room)], axis=1).astype(np.float32)
    return bounded


def colour_change(looks: Looks, whole: Places, part: Places, window: Floats) -> Floats:
    """By how much colours differ [m], in levels: of ``part`` and of ``window`` [m, 4] of ``whole``, root mean square.

    What saturation alone would change, grey included, does not count.
    """
    waves = COLOUR_WAVES
    sides, orders = window[:, 2:], np.arange(waves, dtype=np.float32)
    seen_waves = orders[:, None] / sides[:, 1, None, None] + orders / sides[:, 0, None, None] < waves
    points = _between(waves)
    wave = cosines(points, waves)
    across, down = (cosines(window[:, axis, None] + window[:, axis + 2, None] * points, waves) for axis in (0, 1))
    seen = (down[:, None] @ looks.colours(whole) @ across[:, None].swapaxes(-1, -2)).reshape(
        len(whole), 2 * waves * waves
    )
    shown = (wave @ (looks.colours(part) * seen_waves[:, None]) @ wave.T).reshape(len(whole), 2 * waves * waves)
    # The paler of the two is the more vivid one, made paler.
    swap = np.square(seen).sum(1) < np.square(shown).sum(1)
    vivid, pale = np.where(swap[:, None], shown, seen), np.where(swap[:, None], seen, shown)
    saturation = np.clip((vivid * pale).sum(1) / np.maximum(np.square(vivid).sum(1), _TINY), 0, 1)
    change: Floats = np.sqrt(2 * np.square(pale - saturation[:, None] * vivid).mean(1))
    return change
