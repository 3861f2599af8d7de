"""The fast profile: the pixels of the standard one to within little, from as few decoded pixels as are enough."""

from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from crossmodal.errors import ClientError, ImageUndecodable
from crossmodal.imaging import ImageLimits, decode, prepare, to_pixels
from crossmodal.imaging.decode import checked
from crossmodal.imaging.quick import Scaled, load_scaled, quick_pixels
from crossmodal.imaging.signature import LAYOUT
from crossmodal.records import Preprocessing, Profile
from tests.corpus.pictures import bad_files
from tests.pictures import encoded, many_scans, photograph, quadrants, swapped_profile
from tests.unit.imaging.test_decode import WHOLE

Mode = Literal["shortest", "longest", "squash"]
Filter = Literal["bicubic", "bilinear"]

EXTREMES = [(1, 1), (1, 100), (100, 1), (3, 2), (5000, 50), (50, 5000), (64, 64), (640, 480), (333, 1000)]


def preparing(size: int, mode: Mode = "shortest", profile: Any = "fast", interpolation: Filter = "bicubic") -> Any:
    return Preprocessing(size, interpolation, mode, (0.0,) * 3, (1.0,) * 3, 37, profile)


def smooth(width: int, height: int) -> Image.Image:
    """Shading without noise: no filter overshoots, so that what is left is the difference of positions."""
    return photograph(40, 30).resize((width, height), Image.Resampling.BICUBIC)


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean difference in levels of 255."""
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", EXTREMES, ids=str)
def test_pixels_are_those_of_the_standard_profile(size: tuple[int, int], mode: Mode, interpolation: Filter) -> None:
    image = photograph(*size)
    for side in (224, 64):
        wanted = preparing(side, mode, interpolation=interpolation)
        made = quick_pixels(Scaled(image, None, *size), wanted)
        assert apart(made, to_pixels(image, wanted)) < 0.5
        assert made.shape == (side, side, 3)
        assert made.flags["C_CONTIGUOUS"]
        assert made.flags["WRITEABLE"]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    side=st.sampled_from([32, 63, 96]),
    mode=st.sampled_from(["shortest", "longest", "squash"]),
)
def test_pixels_are_those_of_the_standard_profile_at_any_size(width: int, height: int, side: int, mode: Mode) -> None:
    if max(width, height) > 100 * min(width, height):
        width = height
    image = photograph(width, height)
    wanted = preparing(side, mode)
    assert apart(quick_pixels(Scaled(image, None, width, height), wanted), to_pixels(image, wanted)) < 0.5


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1203, 901), (901, 1207)], ids=str)
def test_a_turned_jpeg_of_odd_sides_is_where_it_should_be(size: tuple[int, int], orientation: int, mode: Mode) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    content = encoded(smooth(*size), "JPEG", quality=95, exif=tags)
    made = prepare(content, preparing(64, mode)).pixels
    right = prepare(content, preparing(64, mode, "standard")).pixels
    beside = np.roll(right, 1, axis=1)
    # A quarter of what a shift by one pixel of the 64 makes; of the reference itself none is left.
    assert apart(made, right) < apart(beside, right) / 4


def test_a_jpeg_is_decoded_at_the_least_scale_that_is_enough() -> None:
    def scaled(width: int, height: int, size: int, **options: object) -> tuple[tuple[int, int], float, float]:
        content = encoded(smooth(width, height), "JPEG", **options)
        with checked(content) as image:
            found = load_scaled(image, content, preparing(size))
            return found.rgb.size, found.width, found.height

    assert scaled(1001, 751, 64) == ((501, 376), 500.5, 375.5)
    assert scaled(1001, 751, 224) == ((1001, 751), 1001, 751)
    assert scaled(2001, 1500, 224) == ((1001, 750), 1000.5, 750)
    assert scaled(2001, 1500, 224, progressive=True) == ((1001, 750), 1000.5, 750)
    assert scaled(4100, 4100, 64) == ((513, 513), 512.5, 512.5)
    assert scaled(600, 600, 64) == ((300, 300), 300, 300)  # at a quarter the thumbnail would be too small
    assert scaled(100, 80, 64) == ((100, 80), 100, 80)


def test_pixels_do_not_depend_on_what_else_is_made() -> None:
    content = encoded(photograph(1203, 901), "JPEG")
    alone, kept = prepare(content, preparing(64)), prepare(content, preparing(64), thumbnail=True)
    assert np.array_equal(alone.pixels, kept.pixels)
    assert (alone.width, alone.height) == (kept.width, kept.height) == (1203, 901)


def test_thumbnail_and_signature_are_nearly_those_of_the_standard_profile() -> None:
    content = encoded(photograph(2400, 2400), "JPEG")
    fast, standard = (prepare(content, preparing(32, profile=each), thumbnail=True) for each in ("fast", "standard"))
    thumbnails = [np.asarray(decode(each.thumbnail)) for each in (fast, standard)]
    assert thumbnails[0].shape == thumbnails[1].shape == (256, 256, 3)
    assert apart(*thumbnails) < 3
    one, other = (np.frombuffer(each.signature, LAYOUT)[0] for each in (fast, standard))
    assert np.abs(one["mean"].astype(int) - other["mean"]).max() <= 1
    assert abs(int(one["scale"]) - int(other["scale"])) <= 0.01 * int(other["scale"])
    assert np.abs(one["brightness"].astype(int) - other["brightness"]).max() <= 3


def test_colour_transparency_and_depth_are_as_in_the_standard_profile() -> None:
    image = smooth(480, 320)
    half = image.copy()
    half.putalpha(100)
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    for name, content in {
        "profile": encoded(smooth(1280, 960), "JPEG", icc_profile=swapped_profile()),
        "ink": encoded(smooth(1280, 960).convert("CMYK"), "JPEG"),
        "grey": encoded(smooth(1280, 960).convert("L"), "JPEG"),
        "alpha": encoded(half, "PNG"),
        "palette": encoded(image.quantize(16), "PNG", transparency=3),
        "depth": encoded(deep, "PNG"),
        "WebP": encoded(half, "WEBP", lossless=True),
        "frames": encoded(image, "GIF", save_all=True, append_images=[quadrants()]),
        "two pictures": encoded(smooth(1280, 960), "MPO", save_all=True, append_images=[smooth(64, 64)]),
    }.items():
        made, right = (prepare(content, preparing(64, profile=each)).pixels for each in ("fast", "standard"))
        assert apart(made, right) < 1, name


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_truncated_pictures_are_refused(name: str, kept: float) -> None:
    content = WHOLE[name]
    assert prepare(content, preparing(8)).width == 96
    with pytest.raises(ImageUndecodable, match=f"begins like {name.rpartition(' ')[2]}") as caught:
        prepare(content[: int(len(content) * kept)], preparing(8))
    with pytest.raises(ImageUndecodable) as standard:
        prepare(content[: int(len(content) * kept)], preparing(8, profile="standard"))
    assert caught.value.detail == standard.value.detail


@pytest.mark.parametrize("name", list(bad_files()))
def test_what_is_refused_is_refused_in_the_same_words(name: str) -> None:
    content = bad_files()[name]
    refusals = []
    for profile in get_args(Profile):
        with pytest.raises(ClientError) as caught:
            prepare(content, preparing(8, profile=profile))
        refusals.append((caught.type, caught.value.detail))
    assert len(set(refusals)) == 1


def test_a_large_jpeg_cut_anywhere_is_refused_though_it_is_scaled() -> None:
    for options in ({}, {"progressive": True}):
        content = encoded(photograph(1600, 1200), "JPEG", **options)
        for lost in (2, 3, 100, len(content) // 2):
            with pytest.raises(ImageUndecodable, match="ends before its last pixel"):
                prepare(content[:-lost], preparing(32))
    with pytest.raises(ImageUndecodable, match="over 100 scans"):
        prepare(many_scans(101, 1000), preparing(32), ImageLimits())
