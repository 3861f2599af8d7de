"""The profiles of preprocessing against each other, in one run: `python -m benchmarks.preprocessing`.

Milliseconds of CPU a picture from its bytes to the model's input of 224 x 224 pixels, by kind of file, the profiles in turns;
the ratio to the standard profile in the same round; and the cosines of the embeddings to those of OpenCLIP's own pixels. The
pictures are the sample gallery's five photographs, scaled to each kind's size. One JSON object a line.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from crossmodal.clip.base import ClipModel
from crossmodal.clip.loading import load_model
from crossmodal.imaging import prepare
from crossmodal.records import Embeddings, Preprocessing, Profile

PHOTOGRAPHS = Path(__file__).resolve().parents[1] / "samples" / "images" / "photographs"
NAMES = ("cat", "cup-of-coffee", "flower", "rocket", "temple")
PREPARING = Preprocessing(224, "bicubic", "shortest", (0.5,) * 3, (0.5,) * 3)
KINDS: dict[str, tuple[tuple[int, int], str, dict[str, object]]] = {
    "JPEG 640 x 480": ((640, 480), "JPEG", {"quality": 85}),
    "JPEG 1280 x 960": ((1280, 960), "JPEG", {"quality": 85}),
    "JPEG 4000 x 3000": ((4000, 3000), "JPEG", {"quality": 88}),
    "progressive JPEG 4000 x 3000": ((4000, 3000), "JPEG", {"quality": 88, "progressive": True}),
    "JPEG 6000 x 4000": ((6000, 4000), "JPEG", {"quality": 88}),
    "JPEG 150 x 120": ((150, 120), "JPEG", {"quality": 85}),
    "WebP 640 x 480": ((640, 480), "WEBP", {"quality": 80}),
    "WebP 2000 x 1500": ((2000, 1500), "WEBP", {"quality": 80}),
    "PNG 640 x 480": ((640, 480), "PNG", {}),
    "PNG 2000 x 1500": ((2000, 1500), "PNG", {"compress_level": 3}),
}
ROUND_SECONDS = 0.15
"""What a round of one profile takes at least: small pictures are prepared several times."""


def made(kind: str) -> list[bytes]:
    """The photographs as files of a kind."""
    (width, height), name, options = KINDS[kind]
    files = []
    for photograph in NAMES if width < 3000 else NAMES[:2]:
        with Image.open(PHOTOGRAPHS / f"{photograph}.jpg") as image:
            buffer = BytesIO()
            image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC).save(buffer, name, **options)
        files.append(buffer.getvalue())
    return files


def milliseconds(files: list[bytes], preprocessing: Preprocessing) -> float:
    """Milliseconds of CPU a picture."""
    count, began = 0, time.thread_time()
    while time.thread_time() - began < ROUND_SECONDS:
        for content in files:
            prepare(content, preprocessing)
        count += len(files)
    return (time.thread_time() - began) / count * 1000


def timed(files: list[bytes], rounds: int) -> dict[Profile, dict[str, object]]:
    """By profile, the median of the rounds and of the ratios to the standard profile, with their range."""
    times: dict[Profile, list[float]] = {profile: [] for profile in get_args(Profile)}
    for _ in range(rounds):
        for profile, found in times.items():
            found.append(milliseconds(files, replace(PREPARING, profile=profile)))
    figures: dict[Profile, dict[str, object]] = {}
    for profile, found in times.items():
        ratios = [one / other for one, other in zip(found, times["standard"], strict=True)]
        figures[profile] = {
            "ms": round(statistics.median(found), 2),
            "to_standard": round(statistics.median(ratios), 3),
            "range": [round(min(ratios), 3), round(max(ratios), 3)],
        }
    return figures


def embedded(model: ClipModel, files: list[bytes], profile: Profile) -> Embeddings:
    """Embeddings of the files, prepared in ``profile``."""
    wanted = replace(model.info.preprocessing, profile=profile)
    return model.embed_pixels(np.stack([prepare(content, wanted).pixels for content in files]))


def main() -> None:
    """Measure and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="tiny", help="whose embeddings are compared, as CROSSMODAL_MODEL names it")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    arguments = parser.parse_args()
    model = load_model(arguments.model, device="cpu", precision="fp32")
    print(json.dumps({"what": "machine", "cores": os.cpu_count(), "load": os.getloadavg()}))
    cosines: dict[Profile, list[float]] = {profile: [] for profile in get_args(Profile)}
    for kind in arguments.kinds:
        files = made(kind)
        reference = embedded(model, files, "reference")
        figures = timed(files, arguments.rounds)
        for profile, found in cosines.items():
            near = np.einsum("nd,nd->n", embedded(model, files, profile), reference)
            found.extend(near.tolist())
            figures[profile]["least_cosine"] = round(float(near.min()), 5)
        size = sum(map(len, files)) // len(files)
        print(json.dumps({"kind": kind, "bytes": size, "rounds": arguments.rounds, **figures}), flush=True)
    for profile, found in cosines.items():
        p1 = round(float(np.percentile(found, 1)), 5)
        print(json.dumps({"what": "cosine to reference", "profile": profile, "pictures": len(found), "p1": p1}))


if __name__ == "__main__":
    main()
