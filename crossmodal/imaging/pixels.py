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
    fit = {"shortest": _shortest, "longest": _longest, "squash": _squash}[preprocessing.resize_mode]
    return np.array(fit(image, preprocessing).convert("RGB"), dtype=np.uint8)


def _shortest(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """The shorter side to ``size``, then the centre: torchvision's Resize and CenterCrop."""
    size = preprocessing.size
    width, height = image.size
    if width <= height:
        resized = _resize(image, size, int(size * height / width), preprocessing)
    else:
        resized = _resize(image, int(size * width / height), size, preprocessing)
    left = round((resized.width - size) / 2.0)
    top = round((resized.height - size) / 2.0)
    return resized.crop((left, top, left + size, top + size))


def _longest(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """The longer side to ``size``, padded around: OpenCLIP's ResizeKeepRatio and CenterCropOrPad."""
    size = preprocessing.size
    ratio = max(image.height / size, image.width / size)
    # At least 1: the reference rounds a side below half a pixel to 0 and fails.
    resized = _resize(image, max(1, round(image.width / ratio)), max(1, round(image.height / ratio)), preprocessing)
    across, down = size - resized.width, size - resized.height
    border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
    return _expand(resized, border, preprocessing.fill_color) if any(border) else resized


def _expand(image: Image.Image, border: tuple[int, int, int, int], fill: int) -> Image.Image:
    """Pad with ``fill`` in every channel, in a palette picture with its entry of that number, as torchvision does."""
    channels = len(image.getbands())
    padded = ImageOps.expand(image, border, fill if channels == 1 else (fill,) * channels)
    if image.mode == "P":
        padded.putpalette(image.getpalette() or b"")
    return padded


def _squash(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Both sides to ``size``, whatever the aspect."""
    return _resize(image, preprocessing.size, preprocessing.size, preprocessing)


def _resize(image: Image.Image, width: int, height: int, preprocessing: Preprocessing) -> Image.Image:
    return image.resize((width, height), _FILTERS[preprocessing.interpolation])
