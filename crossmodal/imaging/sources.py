"""Where a picture comes from: strings of a JSON body, which are a stranger's, and what a Python caller hands over."""

import binascii
import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote_to_bytes

from PIL import Image

from crossmodal.errors import NotFound, UnsupportedMediaType, ValidationFailed
from crossmodal.imaging.colour import to_rgb
from crossmodal.imaging.decode import DEFAULT_LIMITS, decode, pillow_errors, upright
from crossmodal.imaging.limits import ImageLimits

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,30}):")
_BLANKS = b" \t\r\n\f\v"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_FOUR = 4
_MAX_PADDING = 2
_QUOTED = 3
_WEB = {"http", "https"}
_OPAQUE_TYPES = {"", "application/octet-stream"}


def is_web_url(text: str) -> bool:
    """Whether a client's string names a picture by an http(s) URL instead of holding it."""
    scheme = _SCHEME.match(text)
    return scheme is not None and scheme[1].lower() in _WEB


def picture_bytes(text: str, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Read the encoded picture out of a client's string: a data URL or bare base64. Never a path.

    Base64 may use the standard or the URL-safe alphabet, lack its padding and hold white space; anything else in it is
    refused. The size is checked before decoding. The type a data URL declares matters only where it is no picture's.

    Raises ValidationFailed, PayloadTooLarge, UnsupportedMediaType.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _base64(text, limits)
    name = scheme[1].lower()
    if name == "data":
        return _data_url(text[scheme.end() :], limits)
    if name in _WEB:
        raise ValidationFailed(
            "URL fetching is switched off: send the picture itself, as a data URL or base64. "
            "The operator switches it on with CROSSMODAL_FETCH_URLS."
        )
    raise ValidationFailed(f"A picture is a data URL or base64, not a {name}: address.")


def load(source: bytes | str | os.PathLike[str] | Image.Image, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Load a picture for a Python caller, from anything: a path, encoded bytes, base64, a data URL, a Pillow picture.

    A string is a data URL if it says so, else the path of a file if there is one, else base64. Not for strings of a
    client, who could name any file: those go through ``picture_bytes``. The result is a new RGB picture, upright, on
    white, in sRGB.

    Raises what ``decode`` and ``picture_bytes`` raise; NotFound for a path without a file.
    """
    if isinstance(source, Image.Image):
        limits.check_size(*source.size)
        with pillow_errors(source.format or f"mode {source.mode}"):
            return to_rgb(upright(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(bytes(source), limits)
    if isinstance(source, os.PathLike):
        return decode(_file_bytes(Path(source), limits), limits)
    if not isinstance(source, str):
        raise ValidationFailed(
            f"A picture is a path, bytes, base64, a data URL or a Pillow picture, got {type(source).__name__}."
        )
    if source[:5].lower() != "data:" and _is_file(source):
        return decode(_file_bytes(Path(source), limits), limits)
    return decode(picture_bytes(source, limits), limits)


def _data_url(rest: str, limits: ImageLimits) -> bytes:
    """Read what follows ``data:`` (RFC 2397)."""
    head, comma, payload = rest.partition(",")
    if not comma:
        raise ValidationFailed("The data URL has no comma between its type and its data.")
    declared, *parameters = (part.strip().lower() for part in head.split(";"))
    if not declared.startswith("image/") and declared not in _OPAQUE_TYPES:
        raise UnsupportedMediaType("The data URL declares a type that is no picture's: image/... is taken.")
    if "base64" in parameters:
        return _base64(_unquote(payload, limits) if "%" in payload else payload, limits)
    return _checked(_unquote(payload, limits), limits)


def _unquote(payload: str, limits: ImageLimits) -> bytes:
    limits.check_bytes(len(payload) // _QUOTED)
    return unquote_to_bytes(payload)


def _base64(text: str | bytes, limits: ImageLimits) -> bytes:
    """Decode base64 of either alphabet (RFC 4648, 4 and 5)."""
    try:
        raw = text if isinstance(text, bytes) else text.encode("ascii")
    except UnicodeEncodeError as error:
        raise ValidationFailed("The picture is not base64: it has a character outside ASCII.") from error
    packed = raw.translate(None, _BLANKS)
    if (b"-" in packed or b"_" in packed) and (b"+" in packed or b"/" in packed):
        raise ValidationFailed("The picture is not base64: it mixes the standard and the URL-safe alphabet.")
    digits = packed.translate(_TO_STANDARD).rstrip(b"=")
    needed = -len(digits) % _FOUR
    if needed > _MAX_PADDING or len(packed) - len(digits) > needed:
        raise ValidationFailed(f"The picture is not base64: {len(packed)} characters cannot be its whole length.")
    limits.check_bytes(len(digits) * 3 // _FOUR)
    try:
        content = binascii.a2b_base64(digits + b"=" * needed, strict_mode=True)
    except binascii.Error as error:
        raise ValidationFailed("The picture is not base64: it has a character of neither alphabet.") from error
    return _checked(content, limits)


def _checked(content: bytes, limits: ImageLimits) -> bytes:
    if not content:
        raise ValidationFailed("The picture is an empty string.")
    limits.check_bytes(len(content))
    return content


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or a zero byte in it: base64, then
        return False


def _file_bytes(path: Path, limits: ImageLimits) -> bytes:
    """Read a regular file, never more than the limit of it."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ValidationFailed("The path of a picture must name a regular file.")
        limits.check_bytes(found.st_size)
        with path.open("rb") as file:
            return file.read(limits.max_bytes + 1)
    except FileNotFoundError as error:
        raise NotFound("There is no file of that name.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid name"
        raise ValidationFailed(f"The file of the picture cannot be read: {reason}.") from error
