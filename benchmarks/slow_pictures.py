"""Pictures that pass the limits of size and are as slow to decode as we could make them, one function per trick."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_BYTES = 20 * 2**20
SIDE = 7071  # 50 megapixels
_SCANS = 20_000


def _encoded(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _noise(width: int, height: int, channels: int = 3, levels: int = 256) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, levels, (height, width, channels), dtype=np.uint8)


def _soft_noise(side: int = SIDE) -> Image.Image:
    """Noise of few levels: compresses far enough for 50 megapixels to fit into 20 MiB, and is all edges."""
    return Image.fromarray(_noise(side, side, levels=8) * 16 + 60, "RGB")


def jpeg_ordinary() -> bytes:
    """Build a JPEG of 640 x 480 pixels that compresses about as a photograph does: 30 kB."""
    x, y = np.meshgrid(np.linspace(0, 6, 640), np.linspace(0, 6, 480))
    waves = np.stack([np.sin(x + y + shift) for shift in (1, 3, 5)], axis=-1) * 100 + 128
    noise = np.random.default_rng(0).normal(0, 6, waves.shape)
    return _encoded(Image.fromarray(np.clip(waves + noise, 0, 255).astype(np.uint8), "RGB"), "JPEG")


def png_bomb() -> bytes:
    """Build a PNG of 2 kB that says it has 50,000 x 50,000 pixels."""
    return _png(50_000, 50_000, 1, 0, zlib.compress(bytes(2_000_000), 9))


def jpeg_baseline() -> bytes:
    """50 megapixels of noise, sequential Huffman coding."""
    return _encoded(_soft_noise(), "JPEG", quality=75)


def jpeg_progressive() -> bytes:
    """The same, progressive with the usual ten scans."""
    return _encoded(_soft_noise(), "JPEG", quality=75, progressive=True)


def jpeg_restarts() -> bytes:
    """A restart marker after every block."""
    return _encoded(_soft_noise(), "JPEG", quality=70, restart_marker_blocks=1)


def jpeg_scans(count: int = _SCANS) -> bytes:
    """A flat progressive JPEG of 50 megapixels whose last scan, some hundred bytes, comes ``count`` times."""
    content = _encoded(Image.new("L", (SIDE, SIDE), 90), "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * min(count, (MAX_BYTES - len(content)) // len(scan)) + content[-2:]


def jpeg_most_scans() -> bytes:
    """The same with as many scans as are allowed."""
    return jpeg_scans(93)


def jpeg_icc() -> bytes:
    """CMYK through a colour table of 17 points an axis."""
    flat = Image.new("CMYK", (SIDE, SIDE), (10, 200, 30, 40))
    flat.paste(Image.fromarray(_noise(1000, 1000, 4), "CMYK"), (0, 0))
    return _encoded(flat, "JPEG", quality=50, icc_profile=cmyk_table_profile(17))


def png_icc() -> bytes:
    """RGB through a profile with a large table."""
    strip = Image.fromarray(_noise(SIDE, 2000, levels=2) * 200, "RGB")
    flat = Image.new("RGB", (SIDE, SIDE), (20, 90, 200))
    flat.paste(strip, (0, 0))
    return _encoded(flat, "PNG", icc_profile=rgb_table_profile(33))


def png_flat() -> bytes:
    """8-bit RGBA of one colour: inflates 200 MB out of 200 kB."""
    return _encoded(Image.new("RGBA", (SIDE, SIDE), (1, 2, 3, 4)), "PNG", compress_level=9)


def png_noise() -> bytes:
    """Noise that just fits into the limit of bytes."""
    return _encoded(Image.fromarray(_noise(SIDE, SIDE, 1, levels=5)[..., 0] * 30, "L"), "PNG", compress_level=9)


def png_interlaced() -> bytes:
    """16-bit RGBA in seven passes, with the slowest filter: inflates 400 MB."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    packer = zlib.compressobj(9)
    body = b""
    for left, top, across, down in passes:
        width, height = -(-(SIDE - left) // across), -(-(SIDE - top) // down)
        row = b"\4" + bytes(8 * width)
        for _ in range(height):
            body += packer.compress(row)
    return _png(SIDE, SIDE, 16, 6, body + packer.flush(), interlaced=1)


def png_grey_16() -> bytes:
    """16-bit grey, which is scaled with numpy."""
    packer = zlib.compressobj(6)
    row = b"\0" + bytes(2 * SIDE)
    body = b"".join(packer.compress(row) for _ in range(SIDE)) + packer.flush()
    return _png(SIDE, SIDE, 16, 0, body)


def png_chunks() -> bytes:
    """Compressed texts, each up to the megabyte that Pillow allows."""
    text = b"a\0\0" + zlib.compress(bytes(1_000_000), 9)
    return _png(1, 1, 8, 0, zlib.compress(b"\0\0"), before=((b"zTXt", text),) * 60)


def png_small_idats() -> bytes:
    """Pixels in pieces of one byte."""
    rows = np.random.default_rng(0).integers(0, 256, (300, 401), dtype=np.uint8)
    rows[:, 0] = 0  # no filter
    packed = zlib.compress(rows.tobytes(), 0)
    return _png(400, 300, 8, 0, *(packed[at : at + 1] for at in range(len(packed))))


def _png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    *data: bytes,
    interlaced: int = 0,
    before: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = ((b"IHDR", header), *before, *((b"IDAT", each) for each in data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(each)) + kind + each + struct.pack(">I", zlib.crc32(kind + each)) for kind, each in chunks
    )


def webp_lossless() -> bytes:
    """Lossless noise."""
    return _encoded(
        Image.fromarray(_noise(SIDE, SIDE, 3, levels=2) * 60, "RGB"), "WEBP", lossless=True, quality=0, method=0
    )


def webp_lossy() -> bytes:
    """Lossy noise."""
    return _encoded(_soft_noise(), "WEBP", quality=60, method=0)


def webp_animated() -> bytes:
    """Many frames, of which the first is asked for."""
    frames = [Image.new("RGBA", (4000, 4000), (n, 0, 0, n)) for n in range(12)]
    return _encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, quality=0, method=0)


def avif_lossy() -> bytes:
    """Lossy noise in AV1."""
    return _encoded(_soft_noise(), "AVIF", quality=60, speed=10)


def avif_444() -> bytes:
    """AV1 without chroma subsampling."""
    return _encoded(_soft_noise(), "AVIF", quality=45, speed=10, subsampling="4:4:4")


def gif_noise() -> bytes:
    """LZW of noise."""
    return _encoded(Image.fromarray(_noise(SIDE, SIDE, 1, levels=6)[..., 0], "P"), "GIF")


def gif_frames() -> bytes:
    """Frames of 50 megapixels, of which the first is asked for."""
    frames = [Image.new("P", (SIDE, SIDE), n) for n in range(6)]
    return _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def bmp_one_bit() -> bytes:
    """One bit a pixel, 6 MB."""
    return _encoded(Image.fromarray(_noise(SIDE, SIDE, 1, levels=2)[..., 0] * 255).convert("1"), "BMP")


def bmp_run_length() -> bytes:
    """As many runs as are allowed; Pillow reads them in Python."""
    side = 690
    rows = (b"\1\7\1\x08" * (side // 2) + b"\0\0") * side
    offset = 14 + 40 + 1024
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + info + bytes(range(256)) * 4 + rows


def tiff_strips() -> bytes:
    """LZW with a row a strip."""
    image = Image.fromarray(_noise(1000, 50_000, 1, levels=4)[..., 0], "L")
    return _encoded(image, "TIFF", compression="tiff_lzw", tiffinfo={278: 1})


def tiff_lzw() -> bytes:
    """LZW of noise."""
    return _encoded(Image.fromarray(_noise(SIDE, SIDE, 1, levels=4)[..., 0], "L"), "TIFF", compression="tiff_lzw")


def tiff_deflate_rgba() -> bytes:
    """Deflated RGBA of one colour."""
    return _encoded(Image.new("RGBA", (SIDE, SIDE), (9, 8, 7, 6)), "TIFF", compression="tiff_adobe_deflate")


def tiff_float() -> bytes:
    """32-bit floats, which are scaled with numpy."""
    return _encoded(Image.new("F", (SIDE, SIDE), 0.3), "TIFF", compression="tiff_adobe_deflate")


def tiff_tags() -> bytes:
    """As many tags as a directory holds, each with its own value elsewhere."""
    image = Image.new("L", (8, 8), 7)
    content = _encoded(image, "TIFF")
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    entries = content[start + 2 : start + 2 + 12 * count]
    more = b"".join(struct.pack("<HHII", 40_000 + n, 5, 60, 8) for n in range(25_000))
    directory = struct.pack("<H", count + 25_000) + entries + more + bytes(4)
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory + bytes(1000)


def exif_tags() -> bytes:
    """EXIF with as many tags as fit beside a small JPEG."""
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 5000)
    block += b"".join(struct.pack("<HHII", 40_000 + n, 5, 7000, 8) for n in range(5000)) + bytes(4)
    content = _encoded(Image.new("L", (8, 8), 7), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return content[:2] + segment + content[2:]


def _profile(space: bytes, table: bytes) -> bytes:
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"x\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": table,
    }
    head, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        head += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"prtr", space, b"Lab ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + head + body


def _table(inks: int, points: int) -> bytes:
    """A lut16Type (ICC.1:2001-04, 6.5.7) with a noisy grid."""
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    curve: bytes = np.linspace(0, 65535, 4096).astype(">u2").tobytes()
    grid: bytes = np.random.default_rng(0).integers(0, 65535, points**inks * 3).astype(">u2").tobytes()
    return (
        b"mft2"
        + bytes(4)
        + bytes((inks, 3, points, 0))
        + matrix
        + struct.pack(">HH", 4096, 4096)
        + curve * inks
        + grid
        + curve * 3
    )


def cmyk_table_profile(points: int) -> bytes:
    """Build a CMYK profile with a noisy table."""
    return _profile(b"CMYK", _table(4, points))


def rgb_table_profile(points: int) -> bytes:
    """Build an RGB profile with a noisy table."""
    return _profile(b"RGB ", _table(3, points))


SLOW: tuple[Callable[[], bytes], ...] = (
    jpeg_baseline, jpeg_progressive, jpeg_restarts, jpeg_scans, jpeg_most_scans, jpeg_icc, png_icc, png_flat, png_noise, png_interlaced,
    png_grey_16, png_chunks, png_small_idats, webp_lossless, webp_lossy, webp_animated, avif_lossy, avif_444, gif_noise,
    gif_frames, bmp_one_bit, bmp_run_length, tiff_strips, tiff_lzw, tiff_deflate_rgba, tiff_float, tiff_tags, exif_tags,
)  # fmt: skip
