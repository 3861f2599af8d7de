"""What is refused before decoding beside sheer size: work out of proportion, and files without an end.

The bounds on work are the cheap half of the protection. What they do not foresee is stopped by the deadline of the decoding process
(``crossmodal.imaging.decoder``).
"""

import re
from io import BytesIO

from PIL import Image

from crossmodal.errors import ImageTooLarge, ImageUndecodable

_MAX_READS = 500_000

_RUN_LENGTH = (1, 2)
_RUN_LENGTH_MAX = 4_000_000

_MAX_SCANS = 100
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither a stuffed byte, nor padding, nor a restart marker
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01


class Pieces(BytesIO):
    """An encoded picture that is read in a bounded number of pieces.

    Pillow parses headers in Python, a marker or chunk at a time: 20 MiB of empty ones would hold the process for 5 s and
    more. A picture is read in some thousand pieces.
    """

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name
        self._left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as ``BytesIO`` does; raises ImageUndecodable when it was asked to too often."""
        self._left -= 1
        if self._left < 0:
            raise ImageUndecodable(f"The picture begins like {self._name} but is cut into over {_MAX_READS} pieces.")
        return super().read(size)


def check_body(image: Image.Image, content: bytes) -> None:
    """Refuse what its format makes slow beyond its size, and a PNG cut off after its pixels, which Pillow would take.

    Raises ImageTooLarge, ImageUndecodable.
    """
    if image.format == "BMP":
        _check_run_length(image)
    elif image.format in {"JPEG", "MPO"}:
        _check_scans(content)
    elif image.format == "PNG" and content.rfind(_PNG_END) < 0:
        raise ImageUndecodable("The picture begins like PNG but ends before its last chunk.")


def _check_run_length(image: Image.Image) -> None:
    """Pillow unpacks run-length BMP in Python: bounded apart, or 50 megapixels would hold the process for 6 s."""
    if image.info.get("compression") in _RUN_LENGTH and image.width * image.height > _RUN_LENGTH_MAX:
        raise ImageTooLarge(
            f"A run-length compressed BMP may have at most {_RUN_LENGTH_MAX} pixels; "
            f"got {image.width} x {image.height}."
        )


def _check_scans(content: bytes) -> None:
    """Every scan of a progressive JPEG visits every block: 2 MB of 80-byte scans over 50 megapixels take minutes.

    Encoders write some ten; libtiff draws the same line for JPEG within TIFF.
    """
    scans, at = 0, 2
    while (found := _MARKER.search(content, at)) is not None:
        marker, at = content[found.start() + 1], found.end()
        if marker == _EOI:
            return
        if marker in {_SOI, _TEM}:
            continue
        if marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise ImageUndecodable(f"The picture begins like JPEG but has over {_MAX_SCANS} scans.")
        at += max(2, int.from_bytes(content[at : at + 2], "big"))
