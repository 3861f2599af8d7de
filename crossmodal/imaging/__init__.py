"""Untrusted bytes to checked RGB pixels, and pictures back out: thumbnails, data URLs, contact sheets."""

from crossmodal.imaging.decode import decode
from crossmodal.imaging.formats import media_type
from crossmodal.imaging.limits import ImageLimits
from crossmodal.imaging.output import thumbnail, to_base64, to_data_url
from crossmodal.imaging.pixels import to_pixels
from crossmodal.imaging.prepare import Prepared, prepare
from crossmodal.imaging.sheet import contact_sheet
from crossmodal.imaging.signature import is_signature, make_signature
from crossmodal.imaging.sources import is_web_url, load, picture_bytes

__all__ = [
    "ImageLimits",
    "Prepared",
    "contact_sheet",
    "decode",
    "is_signature",
    "is_web_url",
    "load",
    "make_signature",
    "media_type",
    "picture_bytes",
    "prepare",
    "thumbnail",
    "to_base64",
    "to_data_url",
    "to_pixels",
]
