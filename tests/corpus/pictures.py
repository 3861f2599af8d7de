"""Pictures: cut, corrupt, huge, of foreign formats, of two formats at once."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from zipfile import ZipFile

import numpy as np
from PIL import Image

from tests.corpus.cases import Case, Collector
from tests.corpus.wire import as_json, data_url, form, part
from tests.pictures import encoded, photograph, png, png_bomb, run_length_bmp, tiff

SEARCH = "/search/similar-images"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def good(kind: str = "PNG") -> bytes:
    return encoded(photograph(64, 48), kind)


def _corrupt(content: bytes) -> bytes:
    """Keep the signature and overwrite the rest with what no decoder takes for pixels."""
    return content[:12] + b"\x55" * (len(content) - 12)


def _upload(content: bytes, filename: str = "x.png", target: str = SEARCH, field: str = "file") -> bytes:
    return form(target, part(field, content, filename, kind="image/png"))


def _wide(width: int, height: int) -> bytes:
    return encoded(Image.new("1", (width, height)), "PNG")


def _gif_bomb() -> bytes:
    """Says it has 65535 x 65535 pixels and holds none."""
    return (
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;"
    )


def _apng_bomb() -> bytes:
    """An animated PNG whose one frame claims 60000 x 60000 pixels."""
    control = struct.pack(">II", 1_000_000, 0)
    frame = struct.pack(">IIIIIHHBB", 0, 60_000, 60_000, 0, 0, 1, 10, 0, 0)
    return png(60_000, 60_000, 1, 0, bytes(100_000), before=((b"acTL", control), (b"fcTL", frame)))


def _webp_bomb() -> bytes:
    """A lossless WebP header of 16384 x 16384 pixels with nothing behind it."""
    bits = (16383) | (16383 << 14)
    body = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", bits) + b"\0"
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _tiff_loop() -> bytes:
    """A TIFF whose directory of no entries follows itself."""
    return b"II*\0" + struct.pack("<IHI", 8, 0, 8)


def _zip() -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("x.png", good())
    return buffer.getvalue()


def _brand(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + brand + b"mif1" + bytes(40)


def _foreign() -> dict[str, bytes]:
    """Formats that are known and not read."""
    fits = b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800)
    return {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc) run\nshowpage\n",
        "eps-dos": b"\xc5\xd0\xd3\xc6" + bytes(60),
        "pdf": b"%PDF-1.7\n1 0 obj <</Type/Catalog>> endobj\n%%EOF",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:1/x"/></svg>',
        "svg-entity": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///x">]><svg>&x;</svg>',
        "psd": b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, 10, 10, 8, 3),
        "fits": fits,
        "ico": b"\0\0\1\0\1\0" + bytes(16),
        "heic": _brand(b"heic"),
        "mp4": struct.pack(">I", 20) + b"ftypisom" + bytes(8) + b"mp42" + bytes(40),
        "zip": _zip(),
        "html": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
        "jpeg-2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        "jpeg-xl": b"\xff\x0a" + bytes(40),
        "gzip": b"\x1f\x8b\x08" + bytes(40),
        "elf": b"\x7fELF" + bytes(60),
        "pdf-then-png": b"%PDF-1.7\n" + good(),
        "zip-then-jpeg": _zip() + good("JPEG"),
    }


def _undecodable() -> dict[str, bytes]:
    """What begins like a picture, or like nothing at all."""
    png_bytes = good()
    wrong_sum = bytearray(png_bytes)
    wrong_sum[29] ^= 0xFF
    return {
        "empty": b"",
        "one-byte": b"\xff",
        "text": b"this is no picture at all",
        "zero-bytes": bytes(1000),
        "signature-only": png_bytes[:8],
        "png-zero-width": png(0, 10, 8, 2, b""),
        "png-no-data": png_bytes[:33] + b"\0\0\0\0IEND\xaeB`\x82",
        "png-wrong-checksum": bytes(wrong_sum),
        "png-bad-deflate": png_bytes[:41] + b"\xff" * (len(png_bytes) - 41),
        "jpeg-zero-height": good("JPEG").replace(b"\xff\xc0\0\x11\x08\0\x30", b"\xff\xc0\0\x11\x08\0\0", 1),
        "jpeg-without-tables": b"\xff\xd8\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(100) + b"\xff\xd9",
        "tiff-loop": _tiff_loop(),
        "bmp-run-length-cut": run_length_bmp(64, 48, b"\x04")[:80],
        "tiff-no-strips": tiff(np.zeros((4, 4), np.uint8), bits=8, kind=1)[:40],
        "webp-riff-only": b"RIFF\xff\xff\xff\xffWEBP",
        "avif-header-only": _brand(b"avif"),
    }


def _too_large() -> dict[str, Callable[[], bytes]]:
    return {
        "png-bomb": png_bomb,
        "png-2-gigapixels": lambda: png(2**31 - 1, 1, 1, 0, b"\0\0"),
        "gif-bomb": _gif_bomb,
        "apng-bomb": _apng_bomb,
        "webp-bomb": _webp_bomb,
        "1x65535": lambda: _wide(1, 65535),
        "65535x1": lambda: _wide(65535, 1),
        "101-to-1": lambda: _wide(1010, 10),
        "bmp-run-length-bomb": lambda: run_length_bmp(7000, 7000, b"\xff\0" * 100),
    }


def bad_files() -> dict[str, bytes]:
    """Every picture here that is refused, by name."""
    files = {f"{kind.lower()}-truncated": good(kind)[: len(good(kind)) // 2] for kind in FORMATS}
    files |= {f"{kind.lower()}-corrupt": _corrupt(good(kind)) for kind in FORMATS}
    return files | _undecodable() | _foreign() | {name: build() for name, build in _too_large().items()}


def cases() -> list[Case]:
    given = Collector("pictures")
    route = f"POST {SEARCH}"
    for kind in FORMATS:
        content = good(kind)
        name = kind.lower()
        given.add(f"{name}-truncated", route, _upload(content[: len(content) // 2]), 422, "image_undecodable")
        given.add(f"{name}-corrupt", route, _upload(_corrupt(content)), 422, "image_undecodable")
    for name, content in _undecodable().items():
        given.add(f"picture-{name}", route, _upload(content), 422, "image_undecodable", sampled=name == "empty")
    for name, content in _foreign().items():
        sampled = name in {"pdf", "svg"}
        given.add(f"foreign-{name}", route, _upload(content), 415, "unsupported_media_type", sampled=sampled)
    for name, build in _too_large().items():
        given.add(f"large-{name}", route, _upload(build()), 422, "image_too_large", sampled=name == "png-bomb")
    _elsewhere(given)
    _odd_but_good(given)
    return given.cases


def _elsewhere(given: Collector) -> None:
    """The same faults by the other doors."""
    pdf, cut, bomb = _foreign()["pdf"], good("JPEG")[:200], _apng_bomb()
    for name, content, status, code in [
        ("foreign", pdf, 415, "unsupported_media_type"),
        ("cut", cut, 422, "image_undecodable"),
        ("bomb", bomb, 422, "image_too_large"),
    ]:
        given.add(
            f"embed-{name}", "POST /embed/images", _upload(content, target="/embed/images", field="files"), status, code
        )
        compared = {"text": "a", "image": data_url(content)}
        given.add(f"similarity-{name}", "POST /similarity", as_json("/similarity", compared), status, code)
        given.add(
            f"image-to-text-{name}",
            "POST /search/image-to-text",
            as_json("/search/image-to-text", {"image": data_url(content)}),
            status,
            code,
        )
        # Where several could be sent, all bad is 422, and the code the one they share if it is of that status.
        whole = code if status == 422 else "validation_failed"
        given.add(
            f"index-{name}",
            "POST /index/images",
            _upload(content, target="/index/images", field="files"),
            422,
            whole,
            sampled=name == "cut",
        )
        given.add(
            f"index-json-{name}",
            "POST /index/images",
            as_json("/index/images", {"items": [{"image": data_url(content)}]}),
            422,
            whole,
        )
    mixed = form("/index/images", part("files", pdf, "a.png"), part("files", cut, "b.png"), part("files", b"", "c"))
    given.add("index-three-faults", "POST /index/images", mixed, 422, "validation_failed")
    given.add(
        "embed-second-is-bad",
        "POST /embed/images",
        form("/embed/images", part("files", good(), "a.png"), part("files", cut, "b.png")),
        422,
        "image_undecodable",
    )


def _odd_but_good(given: Collector) -> None:
    """Not faults: the content alone says what a file is."""
    route = f"POST {SEARCH}"
    given.add("wrong-extension", route, _upload(good("JPEG"), "x.pdf"), 200)
    given.add("hostile-filename", route, _upload(good(), "../../x;y\\z.png"), 200)
    given.add("png-then-zip", route, _upload(good() + _zip()), 200)
    given.add("jpeg-then-html", route, _upload(good("JPEG") + b"<script>alert(1)</script>"), 200)
    given.add("jpeg-named-gif", route, form(SEARCH, part("file", good("JPEG"), "x.gif", kind="image/gif")), 200)
    compressed = zlib.compress(b"a" * 1_000_000)
    text_bomb = png(8, 8, 8, 0, bytes(72), before=((b"zTXt", b"Comment\0\0" + compressed),))
    given.add("png-text-bomb", route, _upload(text_bomb), 200)
