"""All that the service makes of an encoded picture, in one step: the model's input and, to keep, thumbnail and signature."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crossmodal.imaging.decode import DEFAULT_LIMITS, as_shown, checked
from crossmodal.imaging.limits import ImageLimits
from crossmodal.imaging.output import thumbnail as make_thumbnail
from crossmodal.imaging.pixels import reference_pixels, to_pixels
from crossmodal.imaging.signature import make_signature
from crossmodal.records import Preprocessing, Profile


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What is left of a picture: ``width`` and ``height`` as encoded, uint8 [size, size, 3].

    ``thumbnail`` and ``signature`` are b"" unless they were asked for.
    """

    width: int
    height: int
    pixels: NDArray[np.uint8]
    thumbnail: bytes
    signature: bytes = b""


def prepare(
    content: bytes, preprocessing: Preprocessing, limits: ImageLimits = DEFAULT_LIMITS, *, thumbnail: bool = False
) -> Prepared:
    """Decode ``content`` and resize it for the model in the way of its profile; with ``thumbnail`` also make what is kept.

    That is the thumbnail and the signature, of the picture as a viewer would show it, in every profile. Raises what
    ``decode`` raises.
    """
    make = _maker(preprocessing.profile)
    with checked(content, limits) as image:
        width, height = image.size
        pixels, shown = make(image, content, preprocessing)
        if not thumbnail:
            return Prepared(width, height, pixels, b"")
        picture = shown()
        return Prepared(width, height, pixels, make_thumbnail(picture), make_signature(picture))


_Made = tuple[NDArray[np.uint8], Callable[[], Image.Image]]
"""The model's input, and what gives the picture as a viewer would show it."""


def _standard(image: Image.Image, content: bytes, preprocessing: Preprocessing) -> _Made:
    image.load()
    shown = as_shown(image, content)
    return to_pixels(shown, preprocessing), lambda: shown


def _reference(image: Image.Image, content: bytes, preprocessing: Preprocessing) -> _Made:
    image.load()
    return reference_pixels(image, preprocessing), lambda: as_shown(image, content)


def _maker(profile: Profile) -> Callable[[Image.Image, bytes, Preprocessing], _Made]:
    """What prepares in ``profile`` a picture that was checked; found before there is one, whose fault nothing here is."""
    if profile != "fast":
        return _standard if profile == "standard" else _reference
    # Here, because the other profiles do without its library.
    from crossmodal.imaging.quick import load_scaled, quick_pixels

    def fast(image: Image.Image, content: bytes, preprocessing: Preprocessing) -> _Made:
        scaled = load_scaled(image, content, preprocessing)
        return quick_pixels(scaled, preprocessing), scaled.shown

    return fast
