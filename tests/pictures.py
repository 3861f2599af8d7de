"""Pictures for tests, made in memory: the same bytes at every call, nothing read from disk."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

RED = (255, 0, 0)
GREEN = (0, 255, 0)
BLUE = (0, 0, 255)
YELLOW = (255, 255, 0)
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)

_S15 = 65536
_PCS_WHITE = (0.9642, 1.0, 0.8249)  # D50, the white of the profile connection space


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    """Encode ``image`` in Pillow's format ``name``."""
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def solid(colour: int | tuple[int, ...], size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Image.Image:
    """Make a picture of one colour."""
    return Image.new(mode, size, colour)


def quadrants(width: int = 48, height: int = 32) -> Image.Image:
    """Make an RGB picture with a colour per quarter: red and green above, blue and yellow below."""
    image = Image.new("RGB", (width, height))
    half = (width // 2, height // 2)
    corners = [(0, 0), (half[0], 0), (0, half[1]), half]
    for colour, corner in zip((RED, GREEN, BLUE, YELLOW), corners, strict=True):
        image.paste(colour, (*corner, corner[0] + half[0], corner[1] + half[1]))
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Read the colours in the middle of each quarter: above left, above right, below left, below right."""
    across = (image.width // 4, image.width * 3 // 4)
    down = (image.height // 4, image.height * 3 // 4)
    return [pixel(image, x, y) for y in down for x in across]


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """Read one RGB pixel."""
    value = image.getpixel((x, y))
    if not isinstance(value, tuple):
        raise TypeError(f"an RGB picture was expected, got mode {image.mode}")
    return tuple(int(sample) for sample in value)


def photograph(width: int = 640, height: int = 480, seed: int = 0) -> Image.Image:
    """Make an RGB picture with smooth shading and some noise: compresses about as a photograph does."""
    generator = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 6, height))
    waves = np.stack([np.sin(x + y + shift) for shift in generator.uniform(0, 6, 3)], axis=-1)
    noise = generator.normal(0, 6, waves.shape)
    return Image.fromarray(np.clip(waves * 100 + 128 + noise, 0, 255).astype(np.uint8), "RGB")


def png(
    width: int,
    height: int,
    depth: int,
    colour_type: int,
    rows: bytes,
    *,
    before: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """Build a PNG by hand; ``rows`` are raw samples with a filter byte before each row, ``before`` chunks to add."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), *before, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """Build a PNG of a few kilobytes which says it has ``width`` x ``height`` pixels."""
    return png(width, height, 1, 0, b"\0" * 2_000_000)


def many_scans(count: int, side: int = 7_000) -> bytes:
    """Build a flat progressive JPEG of ``side`` x ``side`` pixels whose last scan comes ``count`` times: slow, and small."""
    content = encoded(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:-2] + content[start:-2] * (count - 1) + content[-2:]


def run_length_bmp(width: int, height: int, body: bytes) -> bytes:
    """Build an 8-bit run-length compressed BMP whose colour n is (0, n, 255 - n)."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    palette = bytes(sample for n in range(256) for sample in (255 - n, n, 0, 0))
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + palette + body


def tiff(samples: np.ndarray, *, bits: int, kind: int, photometric: int = 1, order: str = "<") -> bytes:
    """Build an uncompressed grey TIFF by hand; ``kind`` is its SampleFormat: 1 unsigned, 2 signed, 3 float."""
    height, width = samples.shape
    data = samples.tobytes()
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        (339, 3, 1, kind),
    ]
    directory = struct.pack(f"{order}H", len(entries))
    for tag, type_, count, value in entries:
        packed = struct.pack(f"{order}HH", value, 0) if type_ == 3 else struct.pack(f"{order}I", value)
        directory += struct.pack(f"{order}HHI", tag, type_, count) + packed
    start = struct.pack(f"{order}HI", 42, 8 + len(data))
    return (b"II" if order == "<" else b"MM") + start + data + directory + struct.pack(f"{order}I", 0)


def swapped_profile() -> bytes:
    """Build an RGB profile in which red and green change places."""
    red, green, blue = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    return _profile(
        b"RGB ",
        b"XYZ ",
        {
            b"rXYZ": _xyz(green),
            b"gXYZ": _xyz(red),
            b"bXYZ": _xyz(blue),
            b"rTRC": _gamma(2.2),
            b"gTRC": _gamma(2.2),
            b"bTRC": _gamma(2.2),
        },
    )


def linear_grey_profile() -> bytes:
    """Build a grey profile of gamma 1: its middle grey is a light one in sRGB."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.0)})


def cmyk_profile() -> bytes:
    """Build a CMYK profile in which only black ink counts: none is white, all of it black; the other inks show nothing."""
    identity = bytes(range(256))
    matrix = struct.pack(">9i", _S15, 0, 0, 0, _S15, 0, 0, 0, _S15)
    grid = b"".join(bytes((0 if index & 1 else 255, 128, 128)) for index in range(16))  # Lab, the last ink fastest
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + identity * 4 + grid + identity * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table})


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Build an ICC profile of version 2.4 (ICC.1:2001-04)."""
    text = b"made for tests\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    all_tags = {
        b"desc": described,
        b"cprt": b"text" + bytes(4) + text,
        b"wtpt": _xyz(_PCS_WHITE),
        **tags,
    }
    table, body = struct.pack(">I", len(all_tags)), b""
    start = 128 + 4 + 12 * len(all_tags)
    for name, data in all_tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += padded
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_PCS_WHITE)[8:]
    return header.ljust(128, b"\0") + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * _S15) for value in values))


def _gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)
