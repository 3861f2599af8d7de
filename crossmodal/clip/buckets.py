"""The sizes of batches that a device gets: few enough to prepare each, close enough that little is padded."""

from collections.abc import Iterable
from itertools import product
from typing import Final

__all__ = ["IMAGE_ITEMS", "TEXT_ITEMS", "Shape", "closest", "image_shapes", "text_shapes"]

Shape = tuple[int, ...]

IMAGE_ITEMS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Pictures cost much: from 8 on no bucket is more than 1.5 times the one before it."""
TEXT_ITEMS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TEXT_LENGTHS: Final = (16, 32)
"""Tokens, beside the whole context: most queries fit into 16."""


def image_shapes(size: int) -> list[Shape]:
    """Shapes of pixels, (n, size, size, 3), the largest first."""
    return [(items, size, size, 3) for items in reversed(IMAGE_ITEMS)]


def text_shapes(context_length: int, *, any_length: bool) -> list[Shape]:
    """Shapes of token ids, (n, length), the largest first; of the context alone unless ``any_length`` is allowed."""
    lengths = [length for length in TEXT_LENGTHS if any_length and length < context_length]
    return sorted(product(TEXT_ITEMS, (*lengths, context_length)), key=_cost, reverse=True)


def closest(shape: Shape, buckets: Iterable[Shape]) -> Shape | None:
    """The smallest of ``buckets`` that ``shape`` fits into; None if there is none."""
    fitting = [bucket for bucket in buckets if all(map(int.__le__, shape, bucket))]
    return min(fitting, key=_cost, default=None)


def _cost(shape: Shape) -> tuple[int, Shape]:
    volume = 1
    for side in shape:
        volume *= side
    return volume, shape
