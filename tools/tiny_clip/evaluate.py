"""Measures the exported model on fresh scenes and prints a table.

Usage: python -m tools.tiny_clip.evaluate [--model DIR] [--scenes 1000] [--seed 1] [--json FILE] [--require]

Pictures are drawn at 320 pixels, pass through a lossy WebP file and OpenCLIP's own transform, and are encoded by the
float16 weights as OpenCLIP loads them. Retrieval: each of the captions, which leave nothing out, must find its
picture among all, and each picture its caption; "unseen" are scenes whose combination of facts training never held.
Swaps: caption and picture against their twin with one fact changed, chance 0.5. Everything is measured on three
independent sets of scenes, seen scenes on one; the lowest of the three counts for `--require`.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from tools.tiny_clip.captions import describe, plain_caption
from tools.tiny_clip.loading import MODEL_FOLDER, Encoder, photographs
from tools.tiny_clip.scores import distinct_scenes, recall
from tools.tiny_clip.world import BACKGROUNDS, COUNTS, POSITIONS, Scene, Split, draw_scene, exchanged

SETS = 3
_TWINS = 64  # scenes of each swap test and set
_RANKS = (1, 5, 10)

REQUIRED = {
    "unseen text to image R@1": 0.90,
    "unseen text to image R@10": 0.99,
    "unseen image to text R@1": 0.90,
    "unseen image to text R@10": 0.99,
    "colour swap": 0.95,
    "relation swap": 0.90,
    "place swap": 0.90,
    "count one off": 0.90,
}
"""The least each number may be, over every set of scenes."""


def retrieval(encoder: Encoder, scenes: int, rng: random.Random, split: Split) -> dict[str, float]:
    """Recall at 1, 5 and 10 in both directions over `scenes` distinct scenes of one split."""
    chosen = distinct_scenes(scenes, rng, split=split)
    images = encoder.images(photographs(chosen, rng))
    texts = encoder.texts([describe(scene, rng, full=True).text for scene in chosen])
    similarity = texts @ images.T
    directions = {"text to image": similarity, "image to text": similarity.T}
    return {
        f"{split} {direction} R@{k}": value
        for direction, matrix in directions.items()
        for k, value in zip(_RANKS, recall(matrix, _RANKS), strict=True)
    }


def other_colour(scene: Scene, rng: random.Random) -> Scene:
    """The same scene on another background."""
    return replace(scene, background=rng.choice([name for name in BACKGROUNDS if name != scene.background]))


def other_order(scene: Scene, _rng: random.Random) -> Scene | None:
    """A pair with its objects exchanged."""
    return None if scene.other is None else exchanged(scene)


def other_place(scene: Scene, rng: random.Random) -> Scene | None:
    """An object at another side."""
    if scene.kind != "position":
        return None
    return replace(scene, place=rng.choice([place for place in POSITIONS if place != scene.place]))


def other_count(scene: Scene, rng: random.Random) -> Scene | None:
    """One object more or less."""
    if scene.kind != "group":
        return None
    return replace(scene, count=rng.choice([count for count in COUNTS if abs(count - scene.count) == 1]))


SWAPS: dict[str, Callable[[Scene, random.Random], Scene | None]] = {
    "colour swap": other_colour,
    "relation swap": other_order,
    "place swap": other_place,
    "count one off": other_count,
}
"""How each test's twin is made; None where a scene has no such twin."""


def twins(encoder: Encoder, swap: str, count: int, rng: random.Random) -> float:
    """Share of right choices between an unseen scene and its twin, from caption to pictures and back; chance 0.5."""
    pairs: list[Scene] = []
    while len(pairs) < 2 * count:
        scene = draw_scene(rng, split="unseen")
        twin = SWAPS[swap](scene, rng)
        if twin is not None:
            pairs += [scene, twin]
    images = encoder.images(photographs(pairs, rng)).view(count, 2, -1)
    texts = encoder.texts([plain_caption(scene) for scene in pairs]).view(count, 2, -1)
    own = (texts[:, 0] * images[:, 0]).sum(-1)
    by_caption = own > (texts[:, 0] * images[:, 1]).sum(-1)
    by_picture = own > (texts[:, 1] * images[:, 0]).sum(-1)
    return torch.cat([by_caption, by_picture]).float().mean().item()


def measure(folder: Path, scenes: int, seed: int) -> dict[str, list[float]]:
    """Every number of the table, one for each set of scenes it was measured on."""
    encoder = Encoder(folder)
    results: dict[str, list[float]] = {}
    for number in range(SETS):
        rng = random.Random(seed + number)
        found = retrieval(encoder, scenes, rng, "unseen")
        if number == 0:  # for comparison; once is enough
            found |= retrieval(encoder, scenes, rng, "seen")
        found |= {swap: twins(encoder, swap, _TWINS, rng) for swap in SWAPS}
        for name, value in found.items():
            results.setdefault(name, []).append(value)
    return results


def chance(name: str, scenes: int) -> float:
    """What guessing would score."""
    return float(name.split("@")[1]) / scenes if "@" in name else 0.5


def main() -> int:
    """Reads the command line, measures, prints; 1 where `--require` is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--scenes", type=int, default=1000, help="scenes in each retrieval set")
    parser.add_argument("--seed", type=int, default=1, help="of the first set; the others follow it")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--require", action="store_true", help="fail below the required numbers")
    options = parser.parse_args()
    start = time.monotonic()
    results = measure(options.model, options.scenes, options.seed)
    print(f"{'measure':28}{'mean':>8}{'lowest':>8}{'chance':>8}{'required':>10}")
    for name, values in results.items():
        needed = f"{REQUIRED[name]:.2f}" if name in REQUIRED else ""
        line = f"{name:28}{statistics.mean(values):8.3f}{min(values):8.3f}{chance(name, options.scenes):8.3f}"
        print(f"{line}{needed:>10}")
    print(f"{SETS} sets of {options.scenes} scenes and {_TWINS} twins, {time.monotonic() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"scenes": options.scenes, "results": results}, indent=2) + "\n", "utf-8")
    missed = [name for name, least in REQUIRED.items() if min(results[name]) < least]
    if options.require and missed:
        print("below what is required: " + ", ".join(missed), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
