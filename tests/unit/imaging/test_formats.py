"""Telling formats apart, and saying what the rest is."""

import io
import zipfile

import pytest
from PIL import features

from crossmodal.errors import ImageUndecodable, UnsupportedMediaType
from crossmodal.imaging import decode, media_type
from tests.pictures import encoded, quadrants


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_media_types(name: str, expected: str) -> None:
    assert media_type(encoded(quadrants(), name)) == expected


@pytest.mark.parametrize("signature", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_tiff_signatures(signature: bytes) -> None:
    assert media_type(signature + bytes(12)) == "image/tiff"


def test_avif_by_a_compatible_brand() -> None:
    assert media_type(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "image/avif"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "text")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf \n<?xml version='1.0'?><svg/>", "SVG"),
        (b"<!DOCTYPE html><html></html>", "markup"),
        (b"<HTML><body>", "HTML"),
        (b"8BPS\0\1" + bytes(20), "Photoshop"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", "MP4"),
        (b"\0\0\1\0\1\0\x10\x10", "ICO"),
        (b"\0\0\2\0\1\0\x10\x10", "CUR"),
        *(
            (encoded(image, "TGA", compression=packing), "TGA")
            for image in (quadrants(), quadrants().convert("L"), quadrants().quantize(4))
            for packing in (None, "tga_rle")
        ),
        (encoded(quadrants(), "EPS"), "PostScript"),
        (encoded(quadrants(), "PDF"), "PDF"),
        (encoded(quadrants(), "ICO"), "ICO"),
        (encoded(quadrants(), "ICNS"), "ICNS"),
        (encoded(quadrants(), "JPEG2000"), "JPEG 2000"),
        (encoded(quadrants(), "PPM"), "PNM"),
        (encoded(quadrants(), "PCX"), "PCX"),
        (encoded(quadrants(), "SGI"), "SGI"),
        (encoded(quadrants(), "DDS"), "DirectDraw"),
        (b"qoif\0\0\0\1\0\0\0\1\3\0", "QOI"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "metafile"),
        (b"\1\0\0\0" + bytes(36) + b" EMF", "metafile"),
        (b"v/1\1\2\0\0\0", "OpenEXR"),
        (b"#?RADIANCE\n", "Radiance"),
        (b"gimp xcf v011", "GIMP"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"AT&TFORM\0\0\0\1DJVU", "DjVu"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"RIFF\0\0\0\0WAVEfmt ", "sound"),
        (b"\x1aE\xdf\xa3" + bytes(20), "WebM"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\0" * 257 + b"ustar\x0000", "tar"),
        (_zip(), "zip"),
    ],
)
def test_what_is_known_to_be_something_else_is_named(content: bytes, name: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"looks like .*{name}.* PNG, WebP"):
        decode(content)


@pytest.mark.parametrize(
    "content", [b"hello, world", b"\0", b"\xff\xd8", b"GIF88a" + bytes(20), b"RIFF\0\0\0\0WEBQ", bytes(range(128, 256))]
)
def test_what_is_nothing_known_is_undecodable(content: bytes) -> None:
    with pytest.raises(ImageUndecodable, match="no known signature"):
        decode(content)


def test_empty_bytes_are_undecodable() -> None:
    with pytest.raises(ImageUndecodable, match="0 bytes"):
        decode(b"")


def test_avif_without_its_decoder_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(quadrants(), "AVIF")
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(UnsupportedMediaType, match="AVIF picture, which this installation"):
        decode(content)
