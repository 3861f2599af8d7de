"""Thumbnails, base64 and data URLs."""

import base64
from io import BytesIO

import pytest
from PIL import Image

from crossmodal.errors import ImageUndecodable
from crossmodal.imaging import decode, media_type, thumbnail, to_base64, to_data_url
from tests.pictures import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    corners,
    encoded,
    photograph,
    pixel,
    quadrants,
    solid,
    swapped_profile,
)


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((640, 480), 256, (256, 192)),
        ((480, 640), 256, (192, 256)),
        ((100, 50), 256, (100, 50)),
        ((1000, 10), 256, (256, 3)),
        ((1000, 500), 64, (64, 32)),
        ((1, 1), 256, (1, 1)),
    ],
)
def test_thumbnail_keeps_the_aspect_and_never_enlarges(
    size: tuple[int, int], side: int, expected: tuple[int, int]
) -> None:
    content = thumbnail(solid(RED, size), side)
    assert media_type(content) == "image/webp"
    assert decode(content).size == expected


def test_thumbnail_shows_the_picture() -> None:
    small = decode(thumbnail(quadrants(480, 320)))
    for found, expected in zip(corners(small), (RED, GREEN, BLUE, YELLOW), strict=True):
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 8


def test_thumbnail_is_webp_of_quality_80() -> None:
    image = photograph(512, 384)
    small = image.copy()
    small.thumbnail((256, 256))
    assert (
        thumbnail(image) == encoded(small, "WEBP", quality=80, method=2) != encoded(small, "WEBP", quality=90, method=2)
    )
    assert len(thumbnail(image)) < 10_000


def test_thumbnail_leaves_metadata_and_the_picture_behind() -> None:
    image = photograph(600, 400)
    image.info.update(exif=b"Exif\0\0secret", icc_profile=swapped_profile(), comment=b"secret")
    content = thumbnail(image)
    with Image.open(BytesIO(content)) as found:
        assert not {"exif", "icc_profile", "xmp", "comment"} & set(found.info)
    assert b"secret" not in content
    assert image.size == (600, 400)


def test_base64_of_bytes_is_as_they_are() -> None:
    assert to_base64(b"\xfb\xef\xff") == "++//"


def test_base64_of_a_picture_is_lossless_png() -> None:
    content = base64.b64decode(to_base64(quadrants()))
    assert media_type(content) == "image/png"
    assert decode(content).tobytes() == quadrants().tobytes()


def test_data_url_names_the_type_of_the_bytes() -> None:
    content = encoded(solid(RED), "JPEG")
    assert to_data_url(content) == "data:image/jpeg;base64," + base64.b64encode(content).decode()


def test_data_url_of_a_picture() -> None:
    head, _, data = to_data_url(solid((1, 2, 3))).partition(",")
    assert head == "data:image/png;base64"
    assert pixel(decode(base64.b64decode(data)), 0, 0) == (1, 2, 3)


def test_data_url_of_no_picture() -> None:
    with pytest.raises(ImageUndecodable):
        to_data_url(b"no picture")
