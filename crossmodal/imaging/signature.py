"""What a picture looks like in 607 bytes: its low frequencies, from which near copies are told.

The discrete cosine transform of a small grey picture is what perceptual hashes are made of, which keep one bit of each
coefficient (C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010; N. Krawetz, "Looks
Like It", 2011). Here a coefficient keeps 8 bits: then the picture can be drawn again, 32 waves across, and compared with
any part of another, so that a crop is told from a picture of the same things. Layout, integers little-endian:

    1 byte     VERSION
    int16      1000 times the natural logarithm of width over height, as shown
    3 x uint8  mean Y, Cb and Cr (ITU-R BT.601, as in JPEG)
    uint16     a scale: 100 times the largest of the brightness values, in levels of 255
    527 x int8 brightness: coefficient times its frequency, 127 for the scale; (row, column) with row + column < 32
    uint16     the same for colour
    70 x int8  colour coefficients, 35 of Cb and 35 of Cr: row + column < 8

A coefficient is a mean over the picture, ``mean(y * basis)``, with ``basis`` of mean square 1: the sum of their squares is
the variance, whatever the picture's size. The frequency of a coefficient is the root of row squared plus column squared.
Pictures hold less of what is fine, and rounding would lose it without that factor.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

VERSION: Final = 1
WAVES: Final = 32
"""Rows and columns of brightness coefficients, whose sum is below this."""
COLOUR_WAVES: Final = 8
STEP: Final = 127.0
PER_LEVEL: Final = 100.0
PER_LOG: Final = 1000.0

_SIDE = 128
_SHRINK_GAP = 3.0
_MAX_SCALE = 65_535
_MAX_ASPECT = 32_767


def _kept(waves: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the coefficients that are kept, the mean left out."""
    row, column = np.indices((waves, waves))
    rows, columns = np.nonzero(row + column < waves)
    return rows[1:], columns[1:]


KEPT: Final = _kept(WAVES)
COLOUR_KEPT: Final = _kept(COLOUR_WAVES)
FREQUENCIES: Final[Floats] = np.hypot(*KEPT).astype(np.float32)
LAYOUT: Final = np.dtype(
    [
        ("version", "u1"),
        ("aspect", "<i2"),
        ("mean", "u1", 3),
        ("scale", "<u2"),
        ("brightness", "i1", len(KEPT[0])),
        ("colour_scale", "<u2"),
        ("colour", "i1", (2, len(COLOUR_KEPT[0]))),
    ]
)
"""The bytes of a signature as numpy reads them."""
SIGNATURE_BYTES: Final = LAYOUT.itemsize


def cosines(points: NDArray[Any], waves: int) -> Floats:
    """The basis at ``points`` [..., n], each 0 to 1 across the picture: float32 [..., n, waves], of mean square 1."""
    basis = np.cos(np.float32(np.pi) * points[..., None] * np.arange(waves, dtype=np.float32), dtype=np.float32)
    basis[..., 1:] *= np.float32(math.sqrt(2.0))
    return basis


_BASIS = cosines((np.arange(_SIDE, dtype=np.float32) + 0.5) / _SIDE, WAVES) / np.float32(_SIDE)


def make_signature(shown: Image.Image) -> bytes:
    """The signature of an RGB picture, upright and without transparency, as ``as_shown`` makes it."""
    small = shown.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, reducing_gap=_SHRINK_GAP).convert("YCbCr")
    planes = np.asarray(small, dtype=np.float32).transpose(2, 0, 1)
    coefficients = _BASIS.T @ planes @ _BASIS
    made = np.zeros((), LAYOUT)
    made["version"] = VERSION
    made["aspect"] = np.clip(round(PER_LOG * math.log(shown.width / shown.height)), -_MAX_ASPECT, _MAX_ASPECT)
    made["mean"] = np.clip(np.rint(coefficients[:, 0, 0]), 0, 255)
    made["scale"], made["brightness"] = _rounded(coefficients[0][KEPT] * FREQUENCIES)
    made["colour_scale"], made["colour"] = _rounded(coefficients[1:, *COLOUR_KEPT])
    return made.tobytes()


def is_signature(packed: bytes) -> bool:
    """Whether ``packed`` is a signature of this version; without one nothing is known of a picture's look."""
    return len(packed) == SIGNATURE_BYTES and packed[0] == VERSION


def _rounded(values: Floats) -> tuple[int, NDArray[Any]]:
    scale = min(_MAX_SCALE, math.ceil(PER_LEVEL * float(np.abs(values).max())))
    parts = values * np.float32(PER_LEVEL * STEP / max(1, scale))
    return scale, np.clip(np.rint(parts), -STEP, STEP).astype(np.int8)
