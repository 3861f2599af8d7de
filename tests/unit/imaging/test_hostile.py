"""Whatever bytes or strings come in, only errors of the client come out."""

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ClientError
from crossmodal.imaging import ImageLimits, decode, picture_bytes, prepare
from crossmodal.records import Preprocessing
from tests.pictures import cmyk_profile, encoded, linear_grey_profile, quadrants, run_length_bmp, swapped_profile

LIMITS = ImageLimits(max_pixels=1_000_000)
SMALL = quadrants(24, 16)
SEEDS = [
    *(encoded(SMALL, name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")),
    encoded(SMALL, "PNG", icc_profile=swapped_profile()),
    encoded(SMALL.convert("L"), "JPEG", icc_profile=linear_grey_profile()),
    encoded(SMALL.convert("CMYK"), "TIFF", icc_profile=cmyk_profile()),
    encoded(SMALL.quantize(4), "PNG", transparency=2),
    encoded(SMALL.quantize(4), "GIF", transparency=2, save_all=True, append_images=[SMALL]),
    encoded(SMALL.convert("I;16"), "PNG"),
    encoded(SMALL.convert("F"), "TIFF"),
    encoded(SMALL.convert("RGBA"), "WEBP", lossless=True),
    run_length_bmp(4, 2, b"\x04\x05\x00\x00\x04\xff\x00\x01"),
    encoded(quadrants(1040, 520), "JPEG", quality=30),  # decoded at a quarter in the fast profile
    encoded(quadrants(1040, 520), "JPEG", quality=30, progressive=True),
]
SIGNATURES = [seed[:12] for seed in SEEDS]


FAST = Preprocessing(8, "bicubic", "shortest", (0.0,) * 3, (1.0,) * 3, profile="fast")


def survives(content: bytes) -> None:
    with suppress(ClientError):
        image = decode(content, LIMITS)
        assert image.mode == "RGB"
        assert image.width * image.height <= LIMITS.max_pixels
    assert outcome(decode, content, LIMITS) == outcome(prepare, content, FAST, LIMITS)


def outcome(read: Callable[..., object], *given: object) -> tuple[str, str] | None:
    """The error's code and sentence; None for none."""
    try:
        read(*given)
    except ClientError as error:
        return type(error).__name__, error.detail
    return None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", *SIGNATURES]), st.binary(max_size=200))
def test_arbitrary_bytes(signature: bytes, rest: bytes) -> None:
    survives(signature + rest)


@settings(max_examples=500, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.booleans()), min_size=1, max_size=6),
    cut=st.floats(0, 0.3),
)
def test_mutated_files(seed: bytes, changes: list[tuple[float, int, bool]], cut: float) -> None:
    content = bytearray(seed[: len(seed) - int(len(seed) * cut)])
    for place, value, in_header in changes:
        reach = min(len(content), 64) if in_header else len(content)
        content[int(place * (reach - 1))] = value
    survives(bytes(content))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["", "data:", "data:image/png;base64,", "data:image/png,", "http:"]), st.text(max_size=60))
def test_arbitrary_strings(start: str, rest: str) -> None:
    with suppress(ClientError):
        assert isinstance(picture_bytes(start + rest, LIMITS), bytes)
