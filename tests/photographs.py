"""The sample gallery's five photographs in the sizes, shapes and formats that pictures come in."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.pictures import encoded

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "images"
NAMES = ("cat", "cup-of-coffee", "flower", "rocket", "temple")


def varied() -> dict[str, bytes]:
    """Encoded pictures by name: what a phone, a page and a scanner send, and two of fine detail at every scale."""
    files = {}
    for index, name in enumerate(NAMES):
        content = (SAMPLES / "photographs" / f"{name}.jpg").read_bytes()
        image = Image.open(SAMPLES / "photographs" / f"{name}.jpg").convert("RGB")
        files[f"{name}, as it is"] = content
        for what, (width, height), kind, quality in (
            ("640 x 480", (640, 480), "JPEG", 85),
            ("720p", (1280, 720), "JPEG", 80),
            ("wide", (900, 225), "JPEG", 90),
            ("tall", (200, 640), "JPEG", 90),
            ("small", (150, 120), "JPEG", 75),
            ("tiny", (100, 80), "PNG", 0),
            ("WebP", (700, 500), "WEBP", 80),
            ("PNG", (500, 700), "PNG", 0),
        ):
            options = {} if kind == "PNG" else {"quality": quality}
            files[f"{name}, {what}"] = encoded(_covering(image, width, height), kind, **options)
        if index < 2:
            files[f"{name}, 12 MP"] = encoded(_covering(image, 4000, 3000), "JPEG", quality=88)
    for size in ((1600, 1200), (640, 480)):
        files[f"detail of {size}"] = encoded(detailed(*size), "JPEG", quality=90)
    return files


def _covering(image: Image.Image, width: int, height: int) -> Image.Image:
    """Its centre of that aspect, in that size."""
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    return image.resize((width, height), Image.Resampling.BICUBIC, box)


def detailed(width: int, height: int, seed: int = 0) -> Image.Image:
    """Detail at every scale: amplitudes fall with the frequency, as in photographs, in three independent channels."""
    generator = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    amplitudes = 1 / np.maximum(np.hypot(down, across), 1 / width)
    channels = []
    for _ in range(3):
        wave = np.fft.irfft2(amplitudes * np.exp(2j * np.pi * generator.random(amplitudes.shape)), (height, width))
        channels.append(128 + 50 * wave / wave.std())
    return Image.fromarray(np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8))
