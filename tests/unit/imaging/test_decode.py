"""Decoding: orientation, first frames, limits, damage."""

import struct
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from crossmodal.errors import ClientError, ConfigurationError, ImageTooLarge, ImageUndecodable, PayloadTooLarge
from crossmodal.imaging import ImageLimits, decode
from tests.pictures import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    YELLOW,
    corners,
    encoded,
    many_scans,
    photograph,
    pixel,
    png,
    png_bomb,
    quadrants,
    run_length_bmp,
    solid,
)

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]

# Where red, green, blue and yellow (above left, above right, below left, below right) go for each orientation
# (Exif 2.32, tag 0x0112), and whether the sides change places.
ORIENTED = {
    1: ([RED, GREEN, BLUE, YELLOW], False),
    2: ([GREEN, RED, YELLOW, BLUE], False),
    3: ([YELLOW, BLUE, GREEN, RED], False),
    4: ([BLUE, YELLOW, RED, GREEN], False),
    5: ([RED, BLUE, GREEN, YELLOW], True),
    6: ([BLUE, RED, YELLOW, GREEN], True),
    7: ([YELLOW, GREEN, BLUE, RED], True),
    8: ([GREEN, YELLOW, RED, BLUE], True),
}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", list(ORIENTED))
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
def test_orientation(name: str, orientation: int) -> None:
    options = {"lossless": True} if name == "WEBP" else {}
    image = decode(encoded(quadrants(48, 32), name, exif=exif(orientation), **options))
    expected, turned = ORIENTED[orientation]
    assert image.size == ((32, 48) if turned else (48, 32))
    assert corners(image) == expected


@pytest.mark.parametrize("name", ["JPEG", "AVIF"])
def test_orientation_of_lossy_formats(name: str) -> None:
    image = decode(encoded(quadrants(48, 32), name, exif=exif(6), quality=95))
    assert image.size == (32, 48)
    assert [tuple(round(value / 255) * 255 for value in colour) for colour in corners(image)] == ORIENTED[6][0]


@pytest.mark.parametrize("orientation", [0, 9, 4096])
def test_unknown_orientation_is_ignored(orientation: int) -> None:
    assert corners(decode(encoded(quadrants(), "PNG", exif=exif(orientation)))) == ORIENTED[1][0]


@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0" + b"\x12" * 40]
)
def test_corrupt_exif_does_not_fail_the_picture(block: bytes) -> None:
    content = encoded(solid(BLUE), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    assert pixel(decode(content[:2] + segment + content[2:]), 4, 4) == pixel(decode(content), 4, 4)
    assert pixel(decode(png(1, 1, 8, 0, b"\0\x4d", before=((b"eXIf", block[6:]),))), 0, 0) == (77, 77, 77)


def test_remarks_of_pillow_stay_out_of_sight() -> None:
    entry = struct.pack("<HHII", 0x010E, 2, 60_000, 100_000)  # a description longer than the file
    block = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    content = png(1, 1, 8, 0, b"\0\x4d", before=((b"eXIf", block),))
    with Image.open(BytesIO(content)) as image, pytest.raises(UserWarning, match="larger than file"):
        image.getexif()
    assert pixel(decode(content), 0, 0) == (77, 77, 77)
    before = list(warnings.filters)
    decode(content)
    assert list(warnings.filters) == before


def test_first_frame_of_animations() -> None:
    frames = [solid(colour, (8, 8)) for colour in (RED, GREEN, BLUE)]
    for name, options in [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]:
        content = encoded(frames[0], name, save_all=True, append_images=frames[1:], **options)
        with Image.open(BytesIO(content)) as check:
            assert getattr(check, "n_frames", 1) == 3
        image = decode(content)
        assert image.size == (8, 8)
        assert pixel(image, 4, 4) == RED


def test_the_content_decides_the_format() -> None:
    assert corners(decode(encoded(quadrants(), "BMP"))) == corners(decode(encoded(quadrants(), "PNG")))


WHOLE = {
    "JPEG": encoded(photograph(96, 64), "JPEG"),
    "progressive JPEG": encoded(photograph(96, 64), "JPEG", progressive=True),
    "PNG": encoded(photograph(96, 64), "PNG"),
    "WEBP": encoded(photograph(96, 64), "WEBP"),
    "lossless WEBP": encoded(photograph(96, 64), "WEBP", lossless=True),
    "animated WEBP": encoded(photograph(96, 64), "WEBP", save_all=True, append_images=[photograph(96, 64, 1)]),
    "GIF": encoded(photograph(96, 64).quantize(64), "GIF"),
    "BMP": encoded(photograph(96, 64), "BMP"),
    "TIFF": encoded(photograph(96, 64), "TIFF"),
    **{
        f"{packing} TIFF": encoded(photograph(96, 64), "TIFF", compression=packing)
        for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    },
    "AVIF": encoded(photograph(96, 64), "AVIF"),
    "animated AVIF": encoded(photograph(96, 64), "AVIF", save_all=True, append_images=[photograph(96, 64, 1)]),
}


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize("lost", ["half", "a tenth", "a hundredth", "16 bytes", "a byte"])
def test_truncated_pictures_are_refused(name: str, lost: str) -> None:
    content = WHOLE[name]
    kept = {
        "half": len(content) // 2,
        "a tenth": len(content) * 9 // 10,
        "a hundredth": len(content) * 99 // 100,
        "16 bytes": len(content) - 16,
        "a byte": len(content) - 1,
    }[lost]
    assert decode(content).size == (96, 64)
    if name == "GIF" and lost == "a byte":  # the last byte says only that no other frame follows
        assert decode(content[:kept]).tobytes() == decode(content).tobytes()
        return
    with pytest.raises(ImageUndecodable, match=f"begins like {name.rpartition(' ')[2]}"):
        decode(content[:kept])


@pytest.mark.parametrize("name", ["GIF", "TIFF"])
def test_missing_frames_after_the_first_do_not_matter(name: str) -> None:
    content = encoded(photograph(96, 64), name, save_all=True, append_images=[photograph(96, 64, 1)])
    assert decode(content[: len(content) * 3 // 4]).tobytes() == decode(content).tobytes()


def test_what_is_wrong_with_a_truncated_picture_is_said() -> None:
    with pytest.raises(ImageUndecodable, match="begins like JPEG but ends before its last pixel"):
        decode(encoded(photograph(64, 64), "JPEG")[:-200])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("name", FORMATS)
def test_a_signature_alone_is_undecodable(name: str) -> None:
    with pytest.raises(ImageUndecodable) as caught:
        decode(encoded(solid(RED), name)[:16])
    assert caught.value.__cause__ is not None
    assert " object at 0x" not in caught.value.detail


def test_bytes_are_bounded_first() -> None:
    content = encoded(solid(RED), "PNG")
    assert decode(content, ImageLimits(max_bytes=len(content))).size == (16, 16)
    with pytest.raises(PayloadTooLarge, match=f"{len(content)} bytes; at most {len(content) - 1} "):
        decode(content, ImageLimits(max_bytes=len(content) - 1))
    with pytest.raises(PayloadTooLarge):
        decode(b"no picture", ImageLimits(max_bytes=9))


def test_pixels_are_bounded() -> None:
    content = encoded(solid(RED, (20, 10)), "PNG")
    assert decode(content, ImageLimits(max_pixels=200)).size == (20, 10)
    with pytest.raises(ImageTooLarge, match="20 x 10 pixels; at most 199 "):
        decode(content, ImageLimits(max_pixels=199))


@pytest.mark.parametrize("size", [(100, 1), (1, 100)])
def test_aspect_is_bounded(size: tuple[int, int]) -> None:
    content = encoded(solid(RED, size), "PNG")
    assert decode(content).size == size
    with pytest.raises(ImageTooLarge, match="at most 99 times the shorter"):
        decode(content, ImageLimits(max_aspect=99))


def test_default_limits() -> None:
    limits = ImageLimits()
    assert (limits.max_bytes, limits.max_pixels, limits.max_aspect) == (20 * 1024 * 1024, 50_000_000, 100)


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"max_pixels": 0}, {"max_aspect": 0.5}])
def test_limits_that_refuse_everything_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        ImageLimits(**limits)


def lying_webp(width: int, height: int) -> bytes:
    frames = [solid(colour, (8, 8)) for colour in (RED, GREEN)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return content[:24] + canvas + content[30:]


def lying_gif(width: int, height: int) -> bytes:
    content = encoded(solid(RED, (8, 8)), "GIF")
    return content[:6] + struct.pack("<HH", width, height) + content[10:]


def lying_jpeg(width: int, height: int) -> bytes:
    content = encoded(solid(RED, (8, 8)), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def lying_tiff(width: int, height: int) -> bytes:
    content = encoded(solid(RED, (8, 8)), "TIFF", compression="tiff_adobe_deflate")
    for tag, value in ((256, width), (257, height)):
        at = content.index(struct.pack("<HHI", tag, 3, 1)) + 8
        content = content[:at] + struct.pack("<I", value) + content[at + 4 :]
    return content


@pytest.mark.parametrize(
    "bomb",
    [
        png_bomb(),
        lying_webp(16_000, 16_000),
        lying_webp(10_000, 8_000),
        lying_gif(65_535, 65_535),
        lying_jpeg(65_000, 65_000),
        lying_tiff(60_000, 60_000),
        run_length_bmp(60_000, 60_000, b"\0\1"),
    ],
    ids=["png", "webp", "smaller webp", "gif", "jpeg", "tiff", "bmp"],
)
def test_bombs_are_refused_before_decoding(bomb: bytes) -> None:
    assert len(bomb) < 5_000
    started = time.perf_counter()
    with pytest.raises(ImageTooLarge):
        decode(bomb)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("ceiling", [None, 10])
def test_the_ceiling_of_the_process_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch, ceiling: int | None) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", ceiling)
    assert decode(encoded(quadrants(), "PNG")).size == (48, 32)
    with pytest.raises(ImageTooLarge, match="50000 x 50000"):
        decode(png_bomb())
    with pytest.raises(ImageTooLarge):
        decode(lying_webp(16_000, 16_000))


def test_out_of_memory_means_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: TiffImagePlugin.TiffImageFile) -> None:
        raise MemoryError

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", exhausted)
    with pytest.raises(ImageTooLarge, match="more pixels than can be decoded"):
        decode(encoded(solid(RED), "TIFF"))


def test_run_length_bmp() -> None:
    image = decode(run_length_bmp(4, 2, b"\x04\x05\x00\x00\x04\xff\x00\x01"))  # bottom row first
    assert pixel(image, 0, 1) == (0, 5, 250)
    assert pixel(image, 3, 0) == (0, 255, 0)


def test_large_run_length_bmp_is_refused_for_its_slow_decoder() -> None:
    with pytest.raises(ImageTooLarge, match="run-length"):
        decode(run_length_bmp(2_001, 2_000, b"\0\1"))
    row = b"\xff\x05" * 7 + b"\xd7\x05" + b"\0\0"  # 7 runs of 255, one of 215, the end of the line
    assert decode(run_length_bmp(2_000, 2_000, row * 2_000)).size == (2_000, 2_000)
    assert decode(encoded(solid(BLACK, (2_001, 2_000)), "BMP")).size == (2_001, 2_000)


def test_a_jpeg_of_many_scans_is_refused_for_its_slow_decoder() -> None:
    assert decode(many_scans(90, 16)).size == (16, 16)
    with pytest.raises(ImageUndecodable, match="over 100 scans"):
        decode(many_scans(101, 16))
    ordinary = encoded(photograph(64, 64), "JPEG", progressive=True)
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    assert decode(ordinary + scan * 200).size == (64, 64)  # after its end: a film or a picture that a camera hung on
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(scan) * 200) + scan * 200
    assert decode(ordinary[:2] + thumbnail + ordinary[2:]).size == (64, 64)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_flood_of_empty_pieces_is_refused(name: str) -> None:
    content = encoded(solid(RED), name)
    flood = {
        "JPEG": lambda: content[:2] + b"\xff" * 600_000 + content[2:],
        "PNG": lambda: png(1, 1, 8, 0, b"\0\0", before=((b"tEXt", b"a\0"),) * 170_000),
        "GIF": lambda: content.replace(b",", b"!\xfe" + b"\1x" * 300_000 + b"\0,", 1),
        "BMP": lambda: run_length_bmp(8, 8, b"\0\2\0\0" * 200_000),
    }[name]()
    with pytest.raises(ImageUndecodable, match=f"begins like {name} but is cut into over 500000 pieces"):
        decode(flood)


def test_threads_decode_side_by_side() -> None:
    contents = [encoded(quadrants(), name) for name in ("PNG", "BMP", "TIFF", "GIF")] * 8
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(decode, contents))
    assert all(corners(image) == ORIENTED[1][0] for image in images)


def test_every_error_is_the_clients() -> None:
    for content in (b"", b"BM", b"%PDF-1.7", b"\xff\xd8\xff", png_bomb()):
        with pytest.raises(ClientError):
            decode(content)
