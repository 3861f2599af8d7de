"""What a signature says, and that it says the same of a picture however its file shows it."""

import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from crossmodal.imaging import ImageLimits, is_signature, make_signature, prepare
from crossmodal.imaging.signature import KEPT, LAYOUT, PER_LEVEL, SIGNATURE_BYTES, STEP, cosines
from crossmodal.records import Preprocessing, Profile
from tests.pictures import encoded, photograph

PREPARING = Preprocessing(32, "bicubic", "shortest", (0.5,) * 3, (0.5,) * 3)


def signature_of(content: bytes) -> bytes:
    return prepare(content, PREPARING, ImageLimits(), thumbnail=True).signature


def coefficients(packed: bytes) -> dict[tuple[int, int], float]:
    """Brightness by row and column, in levels."""
    made = np.frombuffer(packed, LAYOUT)[0]
    values = made["brightness"] * (made["scale"] / (PER_LEVEL * STEP)) / np.hypot(*KEPT)
    return {(int(row), int(column)): float(value) for row, column, value in zip(*KEPT, values, strict=True)}


def grey(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8), "L").convert("RGB")


def test_the_basis_is_orthonormal() -> None:
    basis = cosines((np.arange(64) + 0.5) / 64, 32)
    np.testing.assert_allclose(basis.T @ basis / 64, np.eye(32), atol=1e-4)


def test_a_wave_is_found_where_it_is() -> None:
    across = (np.arange(256) + 0.5) / 256
    picture = grey(np.tile(120 + 50 * np.cos(np.pi * 3 * across), (128, 1)))
    packed = make_signature(picture)
    made = np.frombuffer(packed, LAYOUT)[0]
    found = coefficients(packed)
    assert abs(found[0, 3] - 50 / math.sqrt(2)) < 0.5
    assert max(abs(value) for place, value in found.items() if place != (0, 3)) < 0.5
    assert made["mean"].tolist() == [120, 128, 128]
    assert made["aspect"] == round(1000 * math.log(2))


def test_form() -> None:
    packed = make_signature(photograph(90, 60))
    assert len(packed) == SIGNATURE_BYTES == 607
    assert is_signature(packed)
    for other in (b"", packed[:-1], packed + b"\0", b"\2" + packed[1:]):
        assert not is_signature(other)
    flat = make_signature(Image.new("RGB", (9, 9), (200, 10, 10)))
    assert max(map(abs, coefficients(flat).values())) < 0.02
    assert np.frombuffer(flat, LAYOUT)[0]["colour_scale"] <= 2


def test_it_is_of_what_a_viewer_shows() -> None:
    upright = photograph(96, 64)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert signature_of(turned) == signature_of(encoded(upright, "PNG"))
    half = upright.copy()
    half.putalpha(128)
    on_white = Image.new("RGB", upright.size, "white")
    on_white.paste(upright, mask=Image.new("L", upright.size, 128))
    assert signature_of(encoded(half, "PNG")) == signature_of(encoded(on_white, "PNG"))


@pytest.mark.parametrize("profile", ["reference", "fast"])
def test_all_profiles_make_the_same_and_queries_make_none(profile: Profile) -> None:
    content = encoded(photograph(96, 64).convert("RGBA"), "PNG")
    wanted = Preprocessing(32, "bicubic", "shortest", (0.5,) * 3, (0.5,) * 3, profile=profile)
    made = prepare(content, wanted, ImageLimits(), thumbnail=True)
    assert made.signature == signature_of(content)
    assert prepare(content, PREPARING, ImageLimits()).signature == b""


def test_the_smallest_and_the_thinnest_picture_have_one() -> None:
    for size in ((1, 1), (1, 100), (100, 1)):
        file = BytesIO()
        Image.new("RGB", size, (1, 2, 3)).save(file, "PNG")
        assert is_signature(signature_of(file.getvalue()))
