"""The fast profile: a picture as a viewer shows it, brought to the model's size with much less work and slightly other pixels.

A JPEG is decoded at a half, a quarter or an eighth of its size where that leaves enough: libjpeg then computes no more than that
from each block. Only what remains after the crop is resized, with the same filter as OpenCLIP's but in vector instructions and
with coefficients of 16 bits. Positions are exact: boxes are in fractions of a pixel, and the last pixel of a scaled JPEG counts
as far as the picture reaches into it.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray
from PIL import Image

from crossmodal.imaging.decode import as_coloured, turn_of
from crossmodal.imaging.output import THUMBNAIL_SIDE
from crossmodal.imaging.pixels import corner, fitted, padded
from crossmodal.records import Preprocessing

OVERSAMPLING: Final = 2.0
"""A JPEG is decoded at no less than this times what it is resized to. docs/adr/0017-fast-preprocessing.md has what other values gain."""

# Catmull and Rom's is Pillow's bicubic: the cubic of a = -0.5.
_KERNELS = {
    "bicubic": (FilterType.catmull_rom, Image.Resampling.BICUBIC),
    "bilinear": (FilterType.bilinear, Image.Resampling.BILINEAR),
}

Box = tuple[float, float, float, float]

_T = Image.Transpose
_SWAPPED = {_T.TRANSPOSE, _T.TRANSVERSE, _T.ROTATE_90, _T.ROTATE_270}
_FROM_RIGHT = {_T.FLIP_LEFT_RIGHT, _T.ROTATE_180, _T.ROTATE_90, _T.TRANSVERSE}
_FROM_BELOW = {_T.FLIP_TOP_BOTTOM, _T.ROTATE_180, _T.ROTATE_270, _T.TRANSVERSE}


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """A loaded picture in RGB, not yet turned.

    ``width`` and ``height`` say in its pixels how far it reaches: of a picture decoded at an eighth, eighths.
    """

    rgb: Image.Image
    turn: Image.Transpose | None
    width: float
    height: float

    def shown(self) -> Image.Image:
        """The picture upright and without metadata; not always a new one."""
        return self.rgb if self.turn is None else self.rgb.transpose(self.turn)


def load_scaled(image: Image.Image, content: bytes, preprocessing: Preprocessing) -> Scaled:
    """Load a picture that was ``checked``, a JPEG at the least scale that is enough. Raises whatever Pillow raises."""
    drafted = image.draft(None, _least_size(*image.size, preprocessing))
    image.load()
    width, height = image.size if drafted is None else drafted[1][2:]
    return Scaled(as_coloured(image, content), turn_of(image), width, height)


def quick_pixels(picture: Scaled, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop it: uint8 [size, size, 3], 0 to 255, contiguous, writable."""
    turn = picture.turn
    sides = picture.width, picture.height
    box, target = _centre(*(sides[::-1] if turn in _SWAPPED else sides), preprocessing)
    target = target[::-1] if turn in _SWAPPED else target
    small = _resized(picture.rgb, target, _before(turn, box, *sides), preprocessing.interpolation)
    upright = small if turn is None else small.transpose(turn)
    return np.array(padded(upright, preprocessing), dtype=np.uint8)


def _resized(rgb: Image.Image, size: tuple[int, int], box: Box, interpolation: str) -> Image.Image:
    """Antialiased as Pillow does it: the same kernels, as wide as the pixels of the result.

    Pillow itself enlarges: cykooz-resizer then ends the process where the centre of a box's first pixel is that of one of the
    picture's, as of 91 x 32 for 224 x 224. docs/adr/0017-fast-preprocessing.md has what is known of it.
    """
    left, top, right, bottom = box
    kernel, pillows = _KERNELS[interpolation]
    if right - left < size[0] or bottom - top < size[1]:
        return rgb.resize(size, pillows, box)
    algorithm, crop = ResizeAlg.convolution(kernel), CropBox(left, top, right - left, bottom - top)
    small = Image.new("RGB", size)
    # A new one for each picture costs nothing, and one cannot be used by two threads.
    Resizer().resize_pil(rgb, small, ResizeOptions(algorithm, crop_box=crop))
    return small


def _least_size(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Width and height in pixels at which a picture of ``width`` x ``height`` must be decoded at least.

    Enough for its thumbnail too, whether that is wanted or not: the same file has the same pixels as query and as item.
    """
    kept = min(1.0, THUMBNAIL_SIDE / max(width, height))
    across, down = fitted(width, height, preprocessing)
    return ceil(max(OVERSAMPLING * across, kept * width)), ceil(max(OVERSAMPLING * down, kept * height))


def _centre(width: float, height: float, preprocessing: Preprocessing) -> tuple[Box, tuple[int, int]]:
    """What of a picture of these sides the model is shown, and the width and height in pixels that it is resized to."""
    across, down = fitted(width, height, preprocessing)
    if preprocessing.resize_mode != "shortest":
        return (0.0, 0.0, width, height), (across, down)
    size = preprocessing.size
    left, top = corner(across, down, size)
    x, y = width / across, height / down
    return (left * x, top * y, min(width, (left + size) * x), min(height, (top + size) * y)), (size, size)


def _before(turn: Image.Transpose | None, box: Box, width: float, height: float) -> Box:
    """Where a box of the upright picture was in the file, whose sides are ``width`` and ``height``."""
    left, top, right, bottom = box
    if turn in _SWAPPED:
        left, top, right, bottom = top, left, bottom, right
    if turn in _FROM_RIGHT:
        left, right = width - right, width - left
    if turn in _FROM_BELOW:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom
