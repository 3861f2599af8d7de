"""Strings of a client and sources of a Python caller."""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from crossmodal.errors import (
    ImageTooLarge,
    ImageUndecodable,
    NotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
from crossmodal.imaging import ImageLimits, load, picture_bytes
from tests.pictures import BLUE, GREEN, RED, WHITE, YELLOW, corners, encoded, photograph, pixel, quadrants, solid

FOUR = [RED, GREEN, BLUE, YELLOW]
CONTENT = encoded(quadrants(), "PNG")
STANDARD = base64.b64encode(CONTENT).decode()
ALPHABET = bytes.fromhex("fbeffffbefff")  # "++//++//" in base64


def test_bare_base64() -> None:
    assert picture_bytes(STANDARD) == CONTENT


def test_both_alphabets() -> None:
    assert picture_bytes("++//++//") == ALPHABET
    assert picture_bytes("--__--__") == ALPHABET


@pytest.mark.parametrize("text", ["++__", "--//", "+-AA", "/_AA"])
def test_mixed_alphabets_are_refused(text: str) -> None:
    with pytest.raises(ValidationFailed, match="mixes"):
        picture_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("YQ==", b"a"), ("YQ=", b"a"), ("YQ", b"a"), ("YWI=", b"ab"), ("YWI", b"ab"), ("YWJj", b"abc")],
)
def test_padding_may_be_missing(text: str, expected: bytes) -> None:
    assert picture_bytes(text) == expected


@pytest.mark.parametrize("text", ["YQ===", "YWI==", "YWJj=", "Y", "YWJjY", "YWJjY==="])
def test_impossible_lengths_are_refused(text: str) -> None:
    with pytest.raises(ValidationFailed, match="whole length"):
        picture_bytes(text)


def test_white_space_is_skipped() -> None:
    assert picture_bytes(" YW\r\nJj\t\f\v \n") == b"abc"


@pytest.mark.parametrize("text", ["YWJ$", "YWJj$$$$", "YW=Jj", "YW.j", "../../etc/passwd!", "Y\0Jj", "C\\pictures"])
def test_other_characters_are_refused(text: str) -> None:
    with pytest.raises(ValidationFailed, match="not base64"):
        picture_bytes(text)


def test_characters_outside_ascii_are_refused() -> None:
    with pytest.raises(ValidationFailed, match="outside ASCII"):
        picture_bytes("YWJé")


@pytest.mark.parametrize("text", ["", "  \n", "data:image/png;base64,", "data:,", "=", "=="])
def test_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed):
        picture_bytes(text)


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "DATA:IMAGE/PNG;BASE64,",
        " data:image/jpeg;name=a.png;base64,",
        "data:;base64,",
        "data:application/octet-stream;base64,",
    ],
)
def test_data_urls(head: str) -> None:
    assert picture_bytes(head + STANDARD) == CONTENT


def test_data_url_with_percent_encoding() -> None:
    assert picture_bytes("data:image/png," + quote(CONTENT)) == CONTENT
    assert picture_bytes("data:image/png;base64," + quote(STANDARD, safe="")) == CONTENT
    assert picture_bytes("data:image/png,a+b%20c") == b"a+b c"


def test_data_url_with_a_comma_in_its_data() -> None:
    assert picture_bytes("data:image/png,a,b") == b"a,b"


@pytest.mark.parametrize("declared", ["text/html", "application/pdf", "video/mp4", "imagery/png"])
def test_data_url_of_another_type(declared: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="no picture's"):
        picture_bytes(f"data:{declared};base64,{STANDARD}")


def test_data_url_without_comma() -> None:
    with pytest.raises(ValidationFailed, match="no comma"):
        picture_bytes("data:image/png;base64")


@pytest.mark.parametrize("text", ["http://10.0.0.1/a.png", "https://example.org/a.png", " HTTP://x"])
def test_urls_are_not_fetched(text: str) -> None:
    with pytest.raises(ValidationFailed, match="URL fetching is switched off"):
        picture_bytes(text)


@pytest.mark.parametrize(
    ("text", "scheme"), [("file:///etc/passwd", "file"), ("s3://bucket/key", "s3"), ("C:\\a.png", "c")]
)
def test_other_schemes_are_refused(text: str, scheme: str) -> None:
    with pytest.raises(ValidationFailed, match=f"not a {scheme}: address"):
        picture_bytes(text)


def test_a_clients_string_is_never_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abcd").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    assert picture_bytes("abcd") == bytes.fromhex("69b71d")
    with pytest.raises(ValidationFailed):
        picture_bytes(str(tmp_path / "abcd") + ".")


@pytest.mark.parametrize("wrap", ["{}", "data:image/png;base64,{}", " {}\n"])
def test_size_is_bounded_before_decoding(wrap: str) -> None:
    limits = ImageLimits(max_bytes=len(CONTENT))
    assert picture_bytes(wrap.format(STANDARD), limits) == CONTENT
    with pytest.raises(PayloadTooLarge):
        picture_bytes(wrap.format(STANDARD), ImageLimits(max_bytes=len(CONTENT) - 1))
    with pytest.raises(PayloadTooLarge):  # the first bad character is never met
        picture_bytes(wrap.format("$" * 1000), ImageLimits(max_bytes=700))


def test_size_of_percent_encoding_is_bounded() -> None:
    assert picture_bytes("data:image/png," + "%41" * 10, ImageLimits(max_bytes=10)) == b"A" * 10
    for data in ("%41" * 11, "A" * 11, "A" * 1000):
        with pytest.raises(PayloadTooLarge):
            picture_bytes("data:image/png," + data, ImageLimits(max_bytes=10))


def test_percent_encoding_over_the_limit_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("crossmodal.imaging.sources.unquote_to_bytes")
    with pytest.raises(PayloadTooLarge):
        picture_bytes("data:image/png," + "%41" * 11, ImageLimits(max_bytes=10))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "misleading.txt"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    "source",
    [
        lambda path: path,
        str,
        lambda _: CONTENT,
        lambda _: bytearray(CONTENT),
        lambda _: memoryview(CONTENT),
        lambda _: STANDARD,
        lambda _: f"data:image/png;base64,{STANDARD}",
        lambda _: quadrants(),
    ],
    ids=["path", "path string", "bytes", "bytearray", "memoryview", "base64", "data url", "pillow"],
)
def test_load_takes_anything(
    source: Callable[[Path], bytes | str | os.PathLike[str] | Image.Image], file: Path
) -> None:
    image = load(source(file))
    assert image.mode == "RGB"
    assert corners(image) == FOUR


def test_load_of_a_pillow_picture_leaves_it_alone() -> None:
    given = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    given.info["note"] = "kept"
    loaded = load(given)
    assert pixel(loaded, 0, 0) == WHITE
    assert (given.mode, given.info) == ("RGBA", {"note": "kept"})
    plain = solid(RED)
    plain.info["note"] = "kept"
    load(plain).putpixel((0, 0), BLUE)
    assert pixel(plain, 0, 0) == RED
    assert plain.info == {"note": "kept"}


def test_load_turns_a_pillow_picture_upright() -> None:
    given = quadrants()
    given.getexif()[0x0112] = 3
    assert corners(load(given)) == FOUR[::-1]


def test_load_of_a_lazy_pillow_picture_that_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(encoded(solid(RED, (600, 400)), "BMP")[:-1000])
    with Image.open(path) as lazy, pytest.raises(ImageUndecodable, match="begins like BMP but ends before"):
        load(lazy)


def test_load_obeys_limits(file: Path) -> None:
    with pytest.raises(ImageTooLarge):
        load(quadrants(), ImageLimits(max_pixels=48 * 32 - 1))
    with pytest.raises(PayloadTooLarge):
        load(file, ImageLimits(max_bytes=len(CONTENT) - 1))
    with pytest.raises(PayloadTooLarge, match=f"has {len(CONTENT)} bytes"):  # its true size, not that of what was read
        load(file, ImageLimits(max_bytes=1))
    assert load(file, ImageLimits(max_bytes=len(CONTENT))).size == (48, 32)


def test_load_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load(tmp_path / "absent.png")
    assert str(tmp_path) not in caught.value.detail


def test_load_of_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed, match="regular file") as caught:
        load(tmp_path)
    assert str(tmp_path) not in caught.value.detail
    with pytest.raises(ValidationFailed, match="not a valid name"):
        load(Path("a\0b"))


def test_load_of_a_file_that_may_not_be_read(file: Path) -> None:
    with pytest.raises(ValidationFailed, match="cannot be read: Not a directory") as caught:
        load(file / "below")
    assert file.name not in caught.value.detail


def test_load_of_base64_longer_than_a_name_can_be() -> None:
    content = encoded(photograph(64, 48), "PNG")
    assert load(base64.b64encode(content).decode()).tobytes() == photograph(64, 48).tobytes()


def test_load_of_a_string_that_is_neither() -> None:
    with pytest.raises(ValidationFailed):
        load("no such file.png")
    with pytest.raises(ValidationFailed, match="not base64"):
        load("a\0b")


def test_load_of_something_else() -> None:
    with pytest.raises(ValidationFailed, match="got int"):
        load(7)  # type: ignore[arg-type]
