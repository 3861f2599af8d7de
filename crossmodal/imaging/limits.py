"""How large a picture may be: checked on its header, before a single pixel is decoded."""

from dataclasses import dataclass

from crossmodal.errors import ConfigurationError, ImageTooLarge, PayloadTooLarge

_MEGA = 1_000_000
_MEBI = 2**20


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest picture that is read.

    ``max_bytes`` of the encoded file, ``max_pixels`` (width times height) of the decoded one, ``max_aspect`` of the
    longer side to the shorter: under 'shortest' resizing a 1 x 65535 picture would become 224 x 14.7 million pixels.
    Raises ConfigurationError for a limit that would refuse every picture.
    """

    max_bytes: int = 20 * _MEBI
    max_pixels: int = 50 * _MEGA
    max_aspect: float = 100.0

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_pixels, self.max_aspect) < 1:
            raise ConfigurationError(
                f"Limits of pictures must be 1 or more: got max_bytes={self.max_bytes}, "
                f"max_pixels={self.max_pixels}, max_aspect={self.max_aspect}."
            )

    def check_bytes(self, count: int) -> None:
        """Refuse an encoded picture of ``count`` bytes over the limit: PayloadTooLarge."""
        if count > self.max_bytes:
            raise PayloadTooLarge(
                f"The picture has {count} bytes; at most {self.max_bytes} are allowed ({self.max_bytes / _MEBI:.1f} MiB)."
            )

    def check_size(self, width: int, height: int) -> None:
        """Refuse a picture of too many pixels, or of too unequal sides: ImageTooLarge."""
        if width * height > self.max_pixels:
            raise ImageTooLarge(
                f"The picture has {width} x {height} pixels; at most {self.max_pixels} in all are allowed "
                f"({self.max_pixels / _MEGA:g} megapixels)."
            )
        if max(width, height) > self.max_aspect * min(width, height):
            raise ImageTooLarge(
                f"The picture has {width} x {height} pixels; the longer side may be at most {self.max_aspect:g} times "
                "the shorter."
            )
