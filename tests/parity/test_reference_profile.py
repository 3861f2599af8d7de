"""The reference profile against OpenCLIP's own transform of what ``PIL.Image.open`` gives, bit for bit."""

import warnings
from io import BytesIO
from typing import Any, Literal, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import Compose, Normalize

from crossmodal.errors import ImageTooLarge, ImageUndecodable
from crossmodal.imaging import ImageLimits, prepare
from crossmodal.records import Preprocessing, Profile
from tests.pictures import cmyk_profile, encoded, linear_grey_profile, png, png_bomb, swapped_profile, tiff

SIZE = 32
FILL = 37
MODES: tuple[Literal["shortest", "longest", "squash"], ...] = ("shortest", "longest", "squash")


def noise(mode: str, size: tuple[int, int] = (90, 61)) -> Image.Image:
    generator = np.random.default_rng(7)
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    samples = generator.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(samples[..., 0] if channels == 1 else samples, mode)


def deep(order: str = "<") -> NDArray[Any]:
    return np.random.default_rng(8).integers(0, 65536, (61, 90)).astype(f"{order}u2")


def turned() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


PALETTE = noise("RGB").quantize(32)
BINARY = noise("L").convert("1")
FILES = {
    "RGB": encoded(noise("RGB"), "PNG"),
    "RGB, tall": encoded(noise("RGB", (40, 333)), "PNG"),
    "RGB, small": encoded(noise("RGB", (7, 5)), "PNG"),
    "RGB, exact": encoded(noise("RGB", (SIZE, SIZE)), "PNG"),
    "RGB of 16 bits": png(3, 1, 16, 2, b"\0" + bytes(range(18))),
    "RGB, a transparent colour": png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", before=((b"tRNS", b"\0\1\0\2\0\3"),)),
    "RGBA": encoded(noise("RGBA"), "PNG"),
    "LA": encoded(noise("LA"), "PNG"),
    "L": encoded(noise("L"), "PNG"),
    "L, a transparent grey": png(2, 1, 8, 0, b"\0\x36\x37", before=((b"tRNS", b"\0\x36"),)),
    "L of 4 bits, a transparent grey": png(2, 1, 4, 0, b"\0\x36", before=((b"tRNS", b"\0\x03"),)),
    "1": encoded(BINARY, "PNG"),
    "1 in TIFF": encoded(BINARY, "TIFF", compression="group4"),
    "P": encoded(PALETTE, "PNG"),
    "P, a transparent entry": encoded(PALETTE, "PNG", transparency=3),
    "P, an opacity per entry": encoded(PALETTE, "PNG", transparency=bytes(range(32))),
    "P in GIF": encoded(PALETTE, "GIF", transparency=2),
    "P in BMP": encoded(PALETTE, "BMP"),
    "I;16": encoded(Image.fromarray(deep()), "PNG"),
    "I;16 in TIFF": encoded(Image.fromarray(deep()), "TIFF"),
    "I;16B": tiff(deep(">"), bits=16, kind=1, order=">"),
    "I": tiff(deep().astype("<i4") - 1000, bits=32, kind=2),
    "F": tiff(deep().astype("<f4") / 200, bits=32, kind=3),
    "CMYK": encoded(noise("CMYK"), "TIFF"),
    "CMYK in JPEG": encoded(noise("CMYK"), "JPEG"),
    "CMYK with a profile": encoded(noise("CMYK"), "TIFF", icc_profile=cmyk_profile()),
    "YCbCr": encoded(noise("RGB").convert("YCbCr"), "TIFF"),
    "RGB with a profile": encoded(noise("RGB"), "PNG", icc_profile=swapped_profile()),
    "L with a profile": encoded(noise("L"), "JPEG", icc_profile=linear_grey_profile()),
    "turned JPEG": encoded(noise("RGB"), "JPEG", exif=turned()),
    "turned PNG": encoded(noise("RGB"), "PNG", exif=turned()),
    "turned TIFF": encoded(noise("RGB"), "TIFF", exif=turned()),
    "turned AVIF": encoded(noise("RGB"), "AVIF", exif=turned()),
    "WebP with alpha": encoded(noise("RGBA"), "WEBP", lossless=True),
    "AVIF with alpha": encoded(noise("RGBA"), "AVIF"),
    "animated GIF": encoded(PALETTE, "GIF", save_all=True, append_images=[noise("RGB")]),
    "TIFF of two pages": encoded(noise("RGB"), "TIFF", save_all=True, append_images=[noise("L")]),
}


def preparing(mode: Literal["shortest", "longest", "squash"], profile: Any = "reference") -> Preprocessing:
    return Preprocessing(SIZE, "bicubic", mode, (0.0,) * 3, (1.0,) * 3, FILL, profile)


def openclip(content: bytes, mode: str) -> NDArray[np.uint8]:
    """OpenCLIP's transform of the file as Pillow opens it, from floats back to the bytes they were made of."""
    *steps, last = image_transform(
        SIZE, is_train=False, resize_mode=mode, interpolation="bicubic", fill_color=FILL
    ).transforms
    assert isinstance(last, Normalize)
    with warnings.catch_warnings(), Image.open(BytesIO(content)) as image:
        warnings.filterwarnings("ignore", message="Palette images with Transparency")
        pixels: NDArray[np.uint8] = np.rint(Compose(steps)(image).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return pixels


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", list(FILES))
def test_equals_openclip(name: str, mode: Literal["shortest", "longest", "squash"]) -> None:
    content = FILES[name]
    with Image.open(BytesIO(content)) as image:
        size = image.size
    made = prepare(content, preparing(mode))
    assert np.array_equal(made.pixels, openclip(content, mode))
    assert (made.width, made.height) == size


@pytest.mark.parametrize(
    "name",
    [
        "RGBA", "LA", "1", "P", "P, a transparent entry", "I;16", "I", "F", "CMYK with a profile", "RGB with a profile",
        "turned JPEG", "turned PNG", "WebP with alpha", "RGB, a transparent colour",
    ],
)  # fmt: skip
def test_the_standard_profile_sees_something_else(name: str) -> None:
    standard = prepare(FILES[name], preparing("shortest", "standard")).pixels
    assert not np.array_equal(standard, openclip(FILES[name], "shortest"))


@pytest.mark.parametrize("name", ["RGB", "RGB, tall", "L", "TIFF of two pages"])
def test_plain_pictures_are_the_same_in_both(name: str) -> None:
    standard = prepare(FILES[name], preparing("shortest", "standard")).pixels
    if name != "L":  # grey is resized as grey or as RGB: the same sums
        assert np.array_equal(standard, openclip(FILES[name], "shortest"))
    assert np.abs(standard.astype(int) - openclip(FILES[name], "shortest")).max() <= 1


def test_a_thumbnail_is_as_a_viewer_shows_the_picture_in_both() -> None:
    for name in ("turned JPEG", "RGBA", "I;16", "L of 4 bits, a transparent grey"):
        made, shown = (
            prepare(FILES[name], preparing("shortest", each), thumbnail=True) for each in ("reference", "standard")
        )
        assert made.thumbnail == shown.thumbnail != b""


@pytest.mark.parametrize("profile", get_args(Profile))
def test_the_limits_hold_in_every_profile(profile: Profile) -> None:
    with pytest.raises(ImageTooLarge, match="50000 x 50000"):
        prepare(png_bomb(), preparing("squash", profile))
    with pytest.raises(ImageTooLarge, match="at most 99 times"):
        prepare(encoded(noise("RGB", (100, 1)), "PNG"), preparing("longest", profile), ImageLimits(max_aspect=99))
    with pytest.raises(ImageUndecodable):
        prepare(FILES["RGB"][:-40], preparing("shortest", profile))
