"""All that the service makes of an encoded picture, in one step: the model's input and, to keep, thumbnail and signature."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodal.imaging.decode import DEFAULT_LIMITS, as_shown, opened
from crossmodal.imaging.limits import ImageLimits
from crossmodal.imaging.output import thumbnail as make_thumbnail
from crossmodal.imaging.pixels import reference_pixels, to_pixels
from crossmodal.imaging.signature import make_signature
from crossmodal.records import Preprocessing


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

    That is the thumbnail and the signature, of the picture as a viewer would show it, in both profiles. Raises what ``decode`` raises.
    """
    with opened(content, limits) as image:
        width, height = image.size
        if preprocessing.profile == "standard":
            shown = as_shown(image, content)
            pixels = to_pixels(shown, preprocessing)
        else:
            pixels = reference_pixels(image, preprocessing)
            shown = as_shown(image, content) if thumbnail else image
        if not thumbnail:
            return Prepared(width, height, pixels, b"")
        return Prepared(width, height, pixels, make_thumbnail(shown), make_signature(shown))
