"""Every Pillow mode to RGB as a viewer would show it: sRGB, on white, nothing clipped."""

from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_WHITE = (255, 255, 255)
_WIDE = {"I;16", "I;16B", "I;16L", "I", "F"}
_FULL_16 = 65535.0
_FULL_12 = 4095.0
_FULL_8 = 255.0
_BAND = 256  # rows that are scaled at a time: float64 of 50 megapixels at once would be 400 MB, several times over
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_PLAIN = {"L", "RGB", "CMYK"}


def to_rgb(image: Image.Image) -> Image.Image:
    """Make a new RGB picture of any mode, without metadata, as ``as_rgb`` does. Raises whatever Pillow raises."""
    rgb = as_rgb(image)
    if rgb is image:
        rgb = image.copy()
        rgb.info = {}
    return rgb


def as_rgb(image: Image.Image) -> Image.Image:
    """Make RGB of a picture of any mode; one that needs nothing is returned itself, any other without metadata.

    Transparency is composited on white; an ICC profile that fits the mode is applied (a broken one is ignored);
    CMYK goes through its profile, else through Pillow's plain conversion; more than 8 bits are scaled, as
    ``_to_eight_bits`` says. Raises whatever Pillow raises.
    """
    image.load()
    colour, alpha = _split_alpha(_to_eight_bits(image))
    rgb = _to_srgb(colour, image.info.get("icc_profile"))
    if alpha is not None:
        ground = Image.new("RGB", rgb.size, _WHITE)
        ground.paste(rgb, mask=alpha)
        rgb = ground
    if rgb is not image:
        rgb.info = {}
    return rgb


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour as L, RGB or CMYK, and the opacity (0 to 255) where there is any."""
    if not image.has_transparency_data:
        return (image if image.mode in _PLAIN else image.convert("L" if image.mode == "1" else "RGB")), None
    if image.mode in {"1", "L", "La", "LA"}:
        grey = image.convert("LA")
        return grey.getchannel("L"), grey.getchannel("A")
    rgba = image.convert("RGBA")
    return rgba.convert("RGB"), rgba.getchannel("A")


def _to_srgb(colour: Image.Image, profile: bytes | None) -> Image.Image:
    """L, RGB or CMYK to RGB by its profile; plainly where there is none, or it is broken or of another space."""
    if profile:
        with suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
            source = ImageCms.getOpenProfile(BytesIO(profile))
            if not (source.profile.profile_description or "").startswith("sRGB"):
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(colour, source, target, outputMode="RGB")
                if converted is not None:
                    return converted
    return colour if colour.mode == "RGB" else colour.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Samples of 12, 16 or 32 bits as L, or as LA where one value stands for 'transparent'; other modes unchanged.

    Whole samples are scaled from their full range. Mode I and F carry none: integers within 0 to 65535 count as
    16 bits, floats within 0 to 1 or 0 to 255 as those ranges; anything else is stretched from its own least to its
    greatest value. NaN is black.
    """
    if image.mode not in _WIDE:
        return image
    samples = np.asarray(image)
    low, high = _sample_range(image, samples)
    grey = np.empty(samples.shape, dtype=np.uint8)
    for start in range(0, len(samples), _BAND):
        band = samples[start : start + _BAND].astype(np.float64)
        scaled = np.clip((band - low) * _FULL_8 / (high - low), 0, _FULL_8)
        grey[start : start + _BAND] = np.rint(np.nan_to_num(scaled, nan=0.0))
    picture = Image.fromarray(grey, "L")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        opaque = (samples != transparent).astype(np.uint8) * np.uint8(_FULL_8)
        picture = Image.merge("LA", (picture, Image.fromarray(opaque, "L")))
    return picture


def _sample_range(image: Image.Image, samples: NDArray[Any]) -> tuple[float, float]:
    """Which sample is black and which is white; black above white where the file says so."""
    if image.mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})
        high = _FULL_12 if tags.get(_BITS_PER_SAMPLE) == (12,) else _FULL_16
        return (high, 0.0) if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else (0.0, high)
    finite = np.isfinite(samples)
    known_samples = samples if finite.all() else samples[finite]
    least, greatest = (float(known_samples.min()), float(known_samples.max())) if known_samples.size else (0.0, 0.0)
    known = (_FULL_16,) if image.mode == "I" else (1.0, _FULL_8)
    for high in known:
        if least >= 0 and greatest <= high:
            return 0.0, high
    return least, greatest if greatest > least else least + 1.0
