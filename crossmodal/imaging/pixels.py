"""From a picture to the model's input: OpenCLIP's own resizing and cropping, bit for bit, without torch.

The reference is ``open_clip.transform.image_transform`` (3.3.0), up to its normalisation.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from crossmodal.errors import ValidationFailed
from crossmodal.records import Preprocessing

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop an RGB picture: uint8 [size, size, 3], 0 to 255, contiguous, writable.

    Raises ValidationFailed for another mode than RGB: ``decode`` and ``load`` give RGB.
    """
    if image.mode != "RGB":
        raise ValidationFailed(f"Pixels are made of an RGB picture, got mode {image.mode}: pass it through load first.")
    return reference_pixels(image, preprocessing)


def reference_pixels(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Do the same to a picture of any mode, in OpenCLIP's order: resized and cropped first, then made RGB by Pillow.

    So palettes and single bits are not smoothed, samples of 16 bits are clipped, and what was transparent shows.
    """
    return np.array(_square(image, preprocessing).convert("RGB"), dtype=np.uint8)


def fitted(width: float, height: float, preprocessing: Preprocessing) -> tuple[int, int]:
    """Width and height in pixels to which a picture is resized, before it is cropped or padded to ``size`` x ``size``."""
    size = preprocessing.size
    if preprocessing.resize_mode == "squash":
        return size, size
    if preprocessing.resize_mode == "longest":
        ratio = max(height / size, width / size)
        # At least 1: the reference rounds a side below half a pixel to 0 and fails.
        return max(1, round(width / ratio)), max(1, round(height / ratio))
    return (size, int(size * height / width)) if width <= height else (int(size * width / height), size)


def corner(across: int, down: int, size: int) -> tuple[int, int]:
    """Left and top of the centre of ``size`` x ``size`` pixels within ``across`` x ``down``, as torchvision rounds them."""
    return round((across - size) / 2.0), round((down - size) / 2.0)


def padded(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Fill up to ``size`` x ``size`` with ``fill_color`` in every channel: OpenCLIP's CenterCropOrPad.

    In a palette picture with its entry of that number, as torchvision does.
    """
    across, down = preprocessing.size - image.width, preprocessing.size - image.height
    border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
    if not any(border):
        return image
    fill, channels = preprocessing.fill_color, len(image.getbands())
    filled = ImageOps.expand(image, border, fill if channels == 1 else (fill,) * channels)
    if image.mode == "P":
        filled.putpalette(image.getpalette() or b"")
    return filled


def _square(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Resize, then crop or pad."""
    resized = image.resize(fitted(*image.size, preprocessing), _FILTERS[preprocessing.interpolation])
    if preprocessing.resize_mode == "longest":
        return padded(resized, preprocessing)
    size = preprocessing.size
    left, top = corner(*resized.size, size)
    return resized.crop((left, top, left + size, top + size))
