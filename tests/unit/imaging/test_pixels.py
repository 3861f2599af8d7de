"""The model's input equals what OpenCLIP's own transform makes of the same RGB picture, bit for bit."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor

from crossmodal.errors import ValidationFailed
from crossmodal.imaging import to_pixels
from crossmodal.records import Preprocessing
from tests.pictures import BLUE, RED, photograph, quadrants, solid

Mode = Literal["shortest", "longest", "squash"]
Filter = Literal["bicubic", "bilinear"]

SIZES = [
    (640, 480),
    (480, 640),
    (1, 1),
    (3, 100),
    (100, 3),
    (64, 64),
    (63, 65),
    (65, 63),
    (224, 224),
    (225, 224),
    (333, 1000),
    (1001, 337),
    (7, 5),
]


def preprocessing(
    size: int, mode: Mode = "shortest", interpolation: Filter = "bicubic", fill: int = 0
) -> Preprocessing:
    return Preprocessing(size, interpolation, mode, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), fill)


def reference(image: Image.Image, wanted: Preprocessing) -> NDArray[np.uint8]:
    """OpenCLIP's transform without its last step, from floats back to the bytes they were made of."""
    transform = image_transform(
        wanted.size,
        is_train=False,
        resize_mode=wanted.resize_mode,
        interpolation=wanted.interpolation,
        fill_color=wanted.fill_color,
    )
    *steps, last = transform.transforms
    assert isinstance(last, Normalize)
    assert any(isinstance(step, ToTensor) for step in steps)
    tensor = Compose(steps)(image)
    pixels: NDArray[np.uint8] = np.rint(tensor.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return pixels


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_reference(size: tuple[int, int], mode: Mode, interpolation: Filter) -> None:
    image = photograph(*size)
    for side in (224, 64):
        wanted = preprocessing(side, mode, interpolation, fill=37)
        assert np.array_equal(to_pixels(image, wanted), reference(image, wanted))


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    side=st.sampled_from([32, 63, 96]),
    mode=st.sampled_from(["shortest", "longest", "squash"]),
)
def test_equals_the_reference_at_any_size(width: int, height: int, side: int, mode: Mode) -> None:
    if mode == "longest" and max(width, height) / min(width, height) > side:
        width = height  # the reference rounds the shorter side to nothing and fails
    image = photograph(width, height)
    wanted = preprocessing(side, mode)
    assert np.array_equal(to_pixels(image, wanted), reference(image, wanted))


def test_shape_type_and_layout() -> None:
    pixels = to_pixels(quadrants(), preprocessing(32))
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags["C_CONTIGUOUS"]
    assert pixels.flags["WRITEABLE"]


def test_rows_are_rows_and_channels_are_rgb() -> None:
    pixels = to_pixels(quadrants(64, 64), preprocessing(32))
    assert tuple(pixels[2, 2]) == RED
    assert tuple(pixels[29, 2]) == BLUE


def test_longest_pads_with_the_fill_colour() -> None:
    pixels = to_pixels(solid(RED, (64, 31)), preprocessing(32, "longest", fill=9))
    assert tuple(pixels[0, 0]) == tuple(pixels[31, 31]) == (9, 9, 9)
    assert tuple(pixels[16, 16]) == RED


def test_longest_keeps_at_least_a_line() -> None:
    pixels = to_pixels(solid(RED, (100, 1)), preprocessing(32, "longest"))
    assert [tuple(pixels[y, 5]) for y in (14, 15, 16)] == [(0, 0, 0), RED, (0, 0, 0)]


def test_only_rgb_is_taken() -> None:
    with pytest.raises(ValidationFailed, match="got mode L"):
        to_pixels(Image.new("L", (8, 8)), preprocessing(32))
