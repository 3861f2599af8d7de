"""Every mode and every way to be transparent, as the colours a viewer would show."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from crossmodal.imaging import decode, load
from tests.pictures import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    WHITE,
    YELLOW,
    cmyk_profile,
    corners,
    encoded,
    linear_grey_profile,
    pixel,
    png,
    quadrants,
    solid,
    swapped_profile,
    tiff,
)

FOUR = [RED, GREEN, BLUE, YELLOW]


def row(content: bytes) -> list[tuple[int, ...]]:
    image = decode(content)
    return [pixel(image, x, 0) for x in range(image.width)]


def near(found: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 2) -> bool:
    return max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= tolerance


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_keep_colours(name: str) -> None:
    image = decode(encoded(quadrants(), name))
    assert (image.mode, image.size) == ("RGB", (48, 32))
    assert corners(image) == FOUR


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_keep_colours_nearly(name: str) -> None:
    image = decode(encoded(quadrants(), name, quality=95))
    assert (image.mode, image.size) == ("RGB", (48, 32))
    assert all(near(found, expected, 6) for found, expected in zip(corners(image), FOUR, strict=True))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressions(compression: str) -> None:
    assert corners(decode(encoded(quadrants(), "TIFF", compression=compression))) == FOUR


def test_palette() -> None:
    image = quadrants().quantize(4)
    assert image.mode == "P"
    assert corners(decode(encoded(image, "PNG"))) == FOUR


def test_grey_and_one_bit() -> None:
    assert row(encoded(solid(77, (1, 1), "L"), "PNG")) == [(77, 77, 77)]
    one_bit = Image.fromarray(np.array([[False, True]])).convert("1")
    assert row(encoded(one_bit, "PNG")) == [BLACK, WHITE]
    assert row(encoded(one_bit, "TIFF")) == [BLACK, WHITE]


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_composited_on_white(name: str) -> None:
    image = Image.new("RGBA", (3, 1))
    for x, opacity in enumerate((255, 102, 0)):
        image.putpixel((x, 0), (250, 0, 0, opacity))
    options = {"lossless": True, "exact": True} if name == "WEBP" else {}
    # 102 / 255 = 0.4: red 0.4 * 250 + 0.6 * 255 = 253, the rest 0.6 * 255 = 153.
    assert row(encoded(image, name, **options)) == [(250, 0, 0), (253, 153, 153), WHITE]


def test_grey_with_alpha() -> None:
    image = Image.new("LA", (3, 1))
    for x, opacity in enumerate((255, 102, 0)):
        image.putpixel((x, 0), (50, opacity))
    assert row(encoded(image, "PNG")) == [(50, 50, 50), (173, 173, 173), WHITE]


@pytest.mark.parametrize("mode", ["RGBa", "La"])
def test_premultiplied_alpha(mode: str) -> None:
    straight = Image.new("RGBA" if mode == "RGBa" else "LA", (1, 1))
    straight.putpixel((0, 0), (100, 100, 100, 51) if mode == "RGBa" else (100, 51))
    # 51 / 255 = 0.2: 0.2 * 100 + 0.8 * 255 = 224.
    assert near(pixel(load(straight.convert(mode)), 0, 0), (224, 224, 224))


def test_palette_with_alpha_channel() -> None:
    image = Image.new("PA", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((0, 0), (1, 255))
    image.putpixel((1, 0), (1, 0))
    assert [pixel(load(image), x, 0) for x in range(2)] == [(200, 100, 0), WHITE]


def test_palette_with_alpha_in_a_file() -> None:
    colours = struct.pack("<768H", *([0, 200 * 257] + [0] * 254 + [0, 100 * 257] + [0] * 254 + [0] * 256))
    entries = [
        (256, 3, 1, 3), (257, 3, 1, 1), (258, 3, 2, 8 | 8 << 16), (259, 3, 1, 1), (262, 3, 1, 3), (273, 4, 1, 8),
        (277, 3, 1, 2), (278, 3, 1, 1), (279, 4, 1, 6), (320, 3, 768, 14), (338, 3, 1, 2),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    content = b"II*\0" + struct.pack("<I", 14 + len(colours)) + bytes([1, 255, 1, 0, 1, 102]) + colours + directory
    with Image.open(BytesIO(content)) as check:
        assert check.mode == "PA"
    assert row(content) == [(200, 100, 0), WHITE, (233, 193, 153)]


@pytest.mark.parametrize(("depth", "indices"), [(1, b"\x40"), (2, b"\x10"), (4, b"\x01"), (8, b"\0\1")])
def test_transparent_palette_entries_at_every_depth(depth: int, indices: bytes) -> None:
    chunks = ((b"PLTE", bytes([255, 0, 0, 0, 0, 255])), (b"tRNS", bytes([255, 102])))
    assert row(png(2, 1, depth, 3, b"\0" + indices, before=chunks)) == [RED, (153, 153, 255)]


@pytest.mark.parametrize(
    ("kind", "samples", "expected"),
    [
        (2, "ffff80000000 00ff01000000", [(255, 128, 0), (0, 1, 0)]),
        (4, "8000ffff 80000000", [(128, 128, 128), WHITE]),
        (6, "ffff80000000ffff ffff800000000000", [(255, 128, 0), WHITE]),
    ],
    ids=["RGB", "grey with alpha", "RGB with alpha"],
)
def test_png_with_16_bits_a_channel(kind: int, samples: str, expected: list[tuple[int, ...]]) -> None:
    assert row(png(2, 1, 16, kind, b"\0" + bytes.fromhex(samples))) == expected


def test_palette_with_one_transparent_entry() -> None:
    image = quadrants().quantize(4)
    blue = image.getpixel((5, 30))
    assert corners(decode(encoded(image, "PNG", transparency=blue))) == [RED, GREEN, WHITE, YELLOW]
    assert corners(decode(encoded(image, "GIF", transparency=blue))) == [RED, GREEN, WHITE, YELLOW]


def test_palette_with_an_opacity_per_entry() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 0, 0, 0, 0, 0, 0])
    for x in range(3):
        image.putpixel((x, 0), x)
    assert row(encoded(image, "PNG", transparency=bytes([0, 102, 255]))) == [WHITE, (153, 153, 153), BLACK]


def test_palette_whose_entries_hold_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 255, 9, 8, 7, 0], "RGBA")
    image.putpixel((1, 0), 1)
    assert [pixel(load(image), x, 0) for x in range(2)] == [(9, 8, 7), WHITE]


def test_transparent_colour_of_truecolour() -> None:
    rows = b"\0" + bytes([1, 2, 3, 1, 2, 4])
    content = png(2, 1, 8, 2, rows, before=((b"tRNS", bytes([0, 1, 0, 2, 0, 3])),))
    assert row(content) == [WHITE, (1, 2, 4)]


def test_transparent_colour_of_truecolour_with_16_bits() -> None:
    hidden = bytes.fromhex("123456789abc")
    content = png(2, 1, 16, 2, b"\0" + hidden + bytes.fromhex("ffff80000000"), before=((b"tRNS", hidden),))
    assert row(content) == [WHITE, (255, 128, 0)]


@pytest.mark.parametrize(
    ("depth", "rows", "transparent", "expected"),
    [
        (1, b"\0\x40", 0, [255, 255]),  # samples 0, 1: black is transparent, white is white
        (1, b"\0\x40", 1, [0, 255]),
        (2, b"\0\x60", 1, [255, 170]),  # samples 1, 2 of 3
        (4, b"\0\x36", 3, [255, 102]),  # samples 3, 6 of 15
        (8, b"\0\x36\x37", 0x36, [255, 0x37]),
        (16, b"\0\x12\x34\x80\x80", 0x1234, [255, 128]),
    ],
)
def test_transparent_grey_at_every_depth(depth: int, rows: bytes, transparent: int, expected: list[int]) -> None:
    content = png(2, 1, depth, 0, rows, before=((b"tRNS", transparent.to_bytes(2, "big")),))
    assert row(content) == [(value,) * 3 for value in expected]


def test_16_bit_png_is_scaled() -> None:
    samples = np.array([0, 128, 129, 257 * 100, 32768, 65278, 65535], ">u2")
    greys = [value for value, *_ in row(png(7, 1, 16, 0, b"\0" + samples.tobytes()))]
    assert greys == [0, 0, 1, 100, 128, 254, 255]  # rounded at 257 to one


def test_16_bit_ramp_is_a_ramp() -> None:
    samples = np.linspace(0, 65535, 256).astype("<u2").reshape(16, 16)
    image = decode(tiff(samples, bits=16, kind=1))
    assert np.asarray(image)[..., 0].ravel().tolist() == list(range(256))


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_of_either_byte_order(order: str) -> None:
    samples = np.array([[0, 25700, 65535]], f"{order}u2")
    assert row(tiff(samples, bits=16, kind=1, order=order)) == [BLACK, (100, 100, 100), WHITE]


def test_16_bit_tiff_whose_zero_is_white() -> None:
    samples = np.array([[0, 25700, 65535]], "<u2")
    assert row(tiff(samples, bits=16, kind=1, photometric=0)) == [WHITE, (155, 155, 155), BLACK]


def test_12_bit_tiff_is_scaled_from_its_own_range() -> None:
    packed = np.frombuffer(bytes.fromhex("000fff800000"), np.uint8).reshape(1, 6)  # 0, 4095, 2048, 0
    content = tiff(packed, bits=12, kind=1).replace(b"\0\1\3\0\1\0\0\0\6\0", b"\0\1\3\0\1\0\0\0\4\0", 1)
    assert row(content) == [BLACK, WHITE, (128, 128, 128), BLACK]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 25700, 65535], [0, 100, 255]),  # within 16 bits: their range
        ([0, 257, 514], [0, 1, 2]),
        ([-100, 0, 100], [0, 128, 255]),  # stretched
        ([0, 1_000_000, 2_000_000], [0, 128, 255]),
        ([-7, -7, -7], [0, 0, 0]),
    ],
)
def test_32_bit_integers(values: list[int], expected: list[int]) -> None:
    content = tiff(np.array([values], "<i4"), bits=32, kind=2)
    assert row(content) == [(value,) * 3 for value in expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 1.0], [0, 51, 255]),
        ([0.0, 0.1, 0.2], [0, 26, 51]),  # dark, and stays dark
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([100.0, 300.0, 500.0], [0, 128, 255]),
        ([float("nan"), 0.2, float("inf")], [0, 51, 255]),
        ([float("nan"), float("nan"), float("nan")], [0, 0, 0]),
    ],
)
def test_floats(values: list[float], expected: list[int]) -> None:
    content = tiff(np.array([values], "<f4"), bits=32, kind=3)
    assert row(content) == [(value,) * 3 for value in expected]


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_without_profile(name: str) -> None:
    options = {"quality": 100} if name == "JPEG" else {}
    for inks, colour in [((0, 255, 255, 0), RED), ((0, 0, 0, 255), BLACK), ((0, 0, 0, 0), WHITE)]:
        assert near(pixel(decode(encoded(solid(inks, mode="CMYK"), name, **options)), 4, 4), colour)


def test_cmyk_jpeg_is_inverted_as_adobe_does() -> None:
    content = encoded(solid((0, 0, 0, 0), mode="CMYK"), "JPEG")
    assert b"Adobe" in content[:64]
    assert pixel(decode(content), 4, 4) == WHITE


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_through_its_profile(name: str) -> None:
    def shown(inks: tuple[int, int, int, int]) -> tuple[int, ...]:
        return pixel(decode(encoded(solid(inks, mode="CMYK"), name, icc_profile=cmyk_profile())), 4, 4)

    assert near(shown((255, 255, 0, 0)), WHITE)  # the profile shows black ink alone
    assert near(shown((0, 0, 0, 255)), BLACK)
    assert near(shown((0, 0, 0, 128)), (118, 118, 118))  # half of L*: 118, where plain conversion says 127


def test_rgb_profile_is_applied() -> None:
    assert corners(decode(encoded(quadrants(), "PNG", icc_profile=swapped_profile()))) == [GREEN, RED, BLUE, YELLOW]


def test_profile_is_applied_to_palettes_and_under_alpha() -> None:
    palette = quadrants().quantize(4)
    assert corners(decode(encoded(palette, "PNG", icc_profile=swapped_profile()))) == [GREEN, RED, BLUE, YELLOW]
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 102))
    assert row(encoded(half, "PNG", icc_profile=swapped_profile())) == [(153, 255, 153)]


def test_grey_profile_is_applied() -> None:
    # Linear 128 / 255 = 0.502 is 188 in sRGB (IEC 61966-2-1).
    light = (188, 188, 188)
    assert near(row(encoded(solid(128, (1, 1), "L"), "PNG", icc_profile=linear_grey_profile()))[0], light, 1)
    assert near(row(encoded(solid((128, 255), (1, 1), "LA"), "PNG", icc_profile=linear_grey_profile()))[0], light, 1)


@pytest.mark.parametrize(
    "profile",
    [b"no profile at all", swapped_profile()[:200], linear_grey_profile(), cmyk_profile()],
    ids=["garbage", "cut", "grey", "cmyk"],
)
def test_profile_that_is_broken_or_of_another_space_is_ignored(profile: bytes) -> None:
    assert corners(decode(encoded(quadrants(), "PNG", icc_profile=profile))) == FOUR


def test_srgb_profile_changes_nothing() -> None:
    named = swapped_profile().replace(b"made for tests\0", b"sRGB for tests\0")
    assert named != swapped_profile()
    assert corners(decode(encoded(quadrants(), "PNG", icc_profile=named))) == FOUR


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "LAB", "RGBX"])
def test_other_modes_of_pillow(mode: str) -> None:
    image = load(solid((200, 40, 90)).convert(mode))
    assert image.mode == "RGB"
    assert near(pixel(image, 4, 4), (200, 40, 90), 3)


def test_result_carries_no_metadata() -> None:
    image = decode(encoded(quadrants(), "PNG", icc_profile=swapped_profile(), dpi=(300, 300)))
    assert image.info == {}
    assert type(image) is Image.Image
