"""Untrusted bytes to a checked RGB picture: the one door through which a client's picture comes in."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from crossmodal.errors import ClientError, ImageTooLarge, ImageUndecodable
from crossmodal.imaging.bounds import Pieces, check_body
from crossmodal.imaging.colour import as_rgb, to_rgb
from crossmodal.imaging.formats import sniff
from crossmodal.imaging.limits import ImageLimits

DEFAULT_LIMITS = ImageLimits()

# Called directly rather than through Image.open, which consults the process-wide Image.MAX_IMAGE_PIXELS instead of the
# limits given here, and fills its registry of formats on first use without regard to threads.
_READERS: dict[str, Callable[[IO[bytes], str], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

_PILLOW = re.compile(r"PIL\.")

_ORIENTATION = 0x0112
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_PNG_DEPTH_AT = 24
_GREY_SCALES = {2: 85, 4: 17}
_DEEP = 16


def decode(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode an encoded picture to RGB, upright, on white, in sRGB; of an animation the first frame.

    The content alone decides the format. Bytes, pixels and aspect are checked before anything is decoded. A file that
    ends within that frame is refused; one whose later frames or pages are missing is not. The result carries no metadata.

    Raises PayloadTooLarge, UnsupportedMediaType, ImageUndecodable, ImageTooLarge; nothing else.
    """
    with opened(content, limits) as image:
        shown = as_shown(image, content)
        return to_rgb(shown) if shown is image else shown


@contextmanager
def opened(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Iterator[Image.Image]:
    """Check and load an encoded picture as Pillow sees it: in the file's own mode, with its metadata.

    Raises what ``decode`` raises; whatever Pillow raises within the block comes out as one of those, too.
    """
    with checked(content, limits) as image:
        image.load()
        yield image


@contextmanager
def checked(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Iterator[Image.Image]:
    """Check an encoded picture and do not load it yet, so that it can be told at which scale. Raises as ``opened`` does."""
    limits.check_bytes(len(content))
    name = sniff(content)
    with pillow_errors(name), _READERS[name](Pieces(content, name), "") as image:
        limits.check_size(*image.size)
        check_body(image, content)
        yield image


def as_shown(image: Image.Image, content: bytes) -> Image.Image:
    """Make RGB of a picture that was ``opened`` from ``content``: upright, on white, in sRGB.

    The result is for reading only, within the block: one that needs nothing done is returned itself, with its metadata.
    """
    _correct_transparency(image, content)
    turned = upright(image)
    rgb = as_rgb(turned)
    if rgb is not image:
        rgb.info = {}
    return rgb


def as_coloured(image: Image.Image, content: bytes) -> Image.Image:
    """Do the same without turning it."""
    _correct_transparency(image, content)
    return as_rgb(image)


@contextmanager
def pillow_errors(name: str) -> Iterator[None]:
    """Map whatever Pillow raises on a picture of format ``name`` to one of our errors, without its own words.

    Its plugins fail with any exception their parsing trips over (SyntaxError, struct.error, KeyError, ZeroDivisionError
    and a dozen more), so the list is open; its words may hold the address of an object.
    """
    _hush_pillow()
    try:
        yield
    except ClientError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageTooLarge("The picture has more pixels than can be decoded here.") from error
    except Exception as error:
        reason = "ends before its last pixel" if "truncated" in str(error) else "cannot be decoded"
        raise ImageUndecodable(f"The picture begins like {name} but {reason}.") from error


def upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says; one whose EXIF cannot be read stays as it is."""
    method = turn_of(image)
    return image if method is None else image.transpose(method)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What has to be done to the pixels so that they are upright; None for nothing, or where the EXIF cannot be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - broken metadata is no reason to refuse good pixels, and fails in any way it likes
        return None
    return _TRANSPOSED.get(orientation) if isinstance(orientation, int) else None


def _hush_pillow() -> None:
    """Keep Pillow's remarks on odd files (corrupt EXIF, unknown tags) from the log, and from failing a picture.

    A filter that stays, for ``warnings.catch_warnings`` is not made for threads. Deprecations are not among these:
    they are raised in the name of the caller.
    """
    if not any(action == "ignore" and module == _PILLOW for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


def _correct_transparency(image: Image.Image, content: bytes) -> None:
    """Bring the transparent colour of a PNG to 8 bits, as Pillow does with the pixels but not with this."""
    if image.format != "PNG":
        return
    depth = content[_PNG_DEPTH_AT]
    value = image.info.get("transparency")
    if image.mode == "L" and isinstance(value, int):
        image.info["transparency"] = value * _GREY_SCALES.get(depth, 1)
    elif image.mode == "RGB" and isinstance(value, tuple) and depth == _DEEP:
        image.info["transparency"] = tuple(sample >> 8 for sample in value)
