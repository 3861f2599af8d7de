"""Mutated pictures against the decoder, in child processes: does one crash it or hang it? `python -m benchmarks.fuzz_pictures`.

Each child mutates valid files of all formats and decodes them, writing down what it is about to decode. A child that dies
of a signal leaves the file behind; one that takes longer than a deadline is killed and leaves it too.
"""

import argparse
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.slow_pictures import cmyk_table_profile, rgb_table_profile
from crossmodal import imaging
from crossmodal.errors import ClientError
from crossmodal.imaging import ImageLimits
from crossmodal.records import Preprocessing

LIMITS = ImageLimits(max_pixels=2_000_000)
PREPARING = Preprocessing(224, "bicubic", "shortest", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
FAST = replace(PREPARING, size=32, profile="fast")
SLOW_SECONDS = 10
NASTY = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
_STEP = 200
_IN_HEADER, _CUT = 0.6, 0.1


def seeds() -> list[bytes]:
    """Valid pictures of every format, in the variants that take different decoders."""
    generator = np.random.default_rng(0)
    colour = Image.fromarray(generator.integers(0, 256, (40, 56, 3), dtype=np.uint8) // 32 * 32, "RGB")
    alpha = colour.copy()
    alpha.putalpha(90)
    grey, palette, ink = colour.convert("L"), colour.quantize(16), colour.convert("CMYK")
    exif = Image.Exif()
    exif[0x0112] = 6
    packings: list[dict[str, object]] = [
        {"compression": packing} for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ]
    wanted: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "JPEG", {"exif": exif}),
        (colour, "JPEG", {"progressive": True}),
        (colour.resize((1120, 800)), "JPEG", {"quality": 20}),  # decoded at a quarter in the fast profile
        (colour.resize((1120, 800)), "JPEG", {"quality": 20, "progressive": True}),
        (colour, "JPEG", {"subsampling": 0, "restart_marker_blocks": 1}),
        (ink, "JPEG", {}),
        (grey, "JPEG", {}),
        (colour, "JPEG", {"icc_profile": rgb_table_profile(5)}),
        (ink, "TIFF", {"icc_profile": cmyk_table_profile(3)}),
        (colour, "PNG", {"exif": exif}),
        (alpha, "PNG", {}),
        (palette, "PNG", {"transparency": 1}),
        (grey.convert("1"), "PNG", {}),
        (grey.convert("I;16"), "PNG", {}),
        (colour, "PNG", {"save_all": True, "append_images": [alpha]}),
        (colour, "WEBP", {}),
        (alpha, "WEBP", {"lossless": True}),
        (alpha, "WEBP", {"save_all": True, "append_images": [colour]}),
        (palette, "GIF", {}),
        (palette, "GIF", {"save_all": True, "append_images": [colour], "interlace": 1}),
        (colour, "BMP", {}),
        (palette, "BMP", {}),
        (colour, "AVIF", {"exif": exif}),
        (alpha, "AVIF", {}),
        (colour, "AVIF", {"save_all": True, "append_images": [alpha]}),
        *((image, "TIFF", packing) for packing in packings for image in (colour, grey)),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        (grey.convert("1"), "TIFF", {"compression": "group3"}),
        (ink, "TIFF", {"compression": "tiff_lzw"}),
        (grey.convert("F"), "TIFF", {"compression": "tiff_lzw"}),
        (grey.convert("I;16"), "TIFF", {}),
        (palette, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "tiff_lzw", "save_all": True, "append_images": [grey]}),
    ]
    return [_encoded(image, name, options) for image, name, options in wanted]


def _encoded(image: Image.Image, name: str, options: dict[str, object]) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def mutated(chance: random.Random, files: list[bytes]) -> bytes:
    """One of ``files`` with some bytes changed, moved, doubled or cut off; a PNG's checksums are mended again."""
    content = bytearray(chance.choice(files))
    for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
        near_start = chance.random() < _IN_HEADER
        at = chance.randrange(max(1, min(len(content), 300) if near_start else len(content)))
        chance.choice((_set, _set, _flip, _overwrite, _double, _delete, _splice))(chance, content, at, files)
    if chance.random() < _CUT:
        del content[chance.randrange(len(content) + 1) :]
    return _mended(bytes(content))


def _set(chance: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    content[at : at + 1] = bytes([chance.randrange(256)])


def _flip(chance: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    content[at : at + 1] = bytes(each ^ 1 << chance.randrange(8) for each in content[at : at + 1])


def _overwrite(chance: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    nasty = chance.choice(NASTY)
    content[at : at + len(nasty)] = nasty


def _double(chance: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    content[at:at] = content[at : at + chance.randrange(1, 40)] * chance.randrange(1, 4)


def _delete(chance: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    del content[at : at + chance.randrange(1, 20)]


def _splice(chance: random.Random, content: bytearray, at: int, files: list[bytes]) -> None:
    other = chance.choice(files)
    cut = chance.randrange(len(other))
    content[at : at + 32] = other[cut : cut + 32]


def _mended(content: bytes) -> bytes:
    """Put right checksums into a PNG: without them every change ends at the checksum."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    out, at = bytearray(content), 8
    while at + 12 <= len(out):
        end = at + 8 + struct.unpack(">I", out[at : at + 4])[0]
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def work(seed: int, seconds: float, note: Path) -> None:
    """Decode mutations until the time is over; print how many, how many were pictures, and the slowest in seconds."""
    chance, files = random.Random(seed), seeds()
    until, done, good, slowest = time.monotonic() + seconds, 0, 0, 0.0
    while time.monotonic() < until:
        content = mutated(chance, files)
        note.write_bytes(content)
        signal.setitimer(signal.ITIMER_REAL, SLOW_SECONDS)
        began = time.perf_counter()
        try:
            with suppress(ClientError):
                imaging.prepare(content, FAST, LIMITS)
            image = imaging.decode(content, LIMITS)
            imaging.to_pixels(image, PREPARING)
            imaging.thumbnail(image)
            good += 1
        except ClientError:
            pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        done, slowest = done + 1, max(slowest, time.perf_counter() - began)
        if done % _STEP == 0:
            print(_STEP, good, round(slowest, 3), flush=True)
            good = 0


def main() -> None:
    """Run children one after the other, a few minutes in all, and say how they ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="folder for files that killed")
    parser.add_argument("--note", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.note:
        work(arguments.seed, arguments.seconds, arguments.note)
        return
    until, seed, ends, total, good, slowest = (
        time.monotonic() + arguments.seconds,
        arguments.seed,
        Counter[str](),
        0,
        0,
        0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "picture"
        while time.monotonic() < until:
            left = str(max(1.0, min(30.0, until - time.monotonic())))
            command = [sys.executable, "-m", "benchmarks.fuzz_pictures", "--seed", str(seed), "--seconds", left]
            child = subprocess.run([*command, "--note", str(note)], capture_output=True, text=True, check=False)  # noqa: S603
            for line in child.stdout.splitlines():
                count, pictures, worst = line.split()
                total, good, slowest = total + int(count), good + int(pictures), max(slowest, float(worst))
            end = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit {child.returncode}"
            ends[end] += 1
            if child.returncode:
                kept = arguments.keep / f"killer-{seed}"
                kept.write_bytes(note.read_bytes())
                print(end, kept, child.stderr[-500:], flush=True)
            seed += 1
    print(f"{total} mutations, {good} still pictures, slowest {slowest:.2f} s; children: {dict(ends)}")


if __name__ == "__main__":
    main()
