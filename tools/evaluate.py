"""Measures what the service finds on the bundled model's held-out scenes, and prints a table.

Usage: python -m tools.evaluate [--seed 101] [--sets 2] [--model SPEC] [--json FILE] [--require]     (some minutes)

All of it goes through the use cases that the API uses, with their defaults. Indented rows do with the same embeddings
what is commonly done instead. Each measure is taken on `--sets` independent sets of scenes, none of which anything was
chosen on; `--model` measures an export of the bundled model, in the precision of CROSSMODAL_PRECISION; `--require` fails if the lowest (or, of what should be low, the highest) misses what is required.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from crossmodal.records import DEFAULT_TENANT
from crossmodal.search.classifying import Labelling
from crossmodal.search.seeing import PictureSource
from crossmodal.settings import Settings
from crossmodal.wiring import Container, build_container, build_local_encoder
from tools.tiny_clip import eval_duplicates
from tools.tiny_clip.captions import plain_caption
from tools.tiny_clip.eval_search import Numbers, measure_any, measure_fusion, measure_no_match, photograph
from tools.tiny_clip.objects import things
from tools.tiny_clip.scores import distinct_scenes
from tools.tiny_clip.world import Scene, draw_scene

REQUIRED = {
    "fused R@5": 0.80,
    "any modality over raw cosine": 0.15,
    "no match AUROC": 0.95,
    "100 captions as labels": 0.90,
    "100 names as labels": 0.90,
    "duplicates F1": 0.95,
}
"""The least each number may be, over every set of scenes."""
BEATS = {"fused R@5": ("  picture alone R@5", "  text alone R@5")}
"""What each of these must be above, in every set."""

_LABELS = 100


async def measure_classification(container: Container, seed: int) -> Numbers:
    """Accuracy over a hundred labels, one of which is right."""
    rng = random.Random(seed)
    whole = distinct_scenes(_LABELS, rng, split="unseen")
    single: dict[int, Scene] = {}
    while len(single) < _LABELS:
        scene = draw_scene(rng, split="unseen")
        if scene.other is None:
            single.setdefault(scene.item, scene)
    captions = [plain_caption(scene) for scene in whole]
    names = [things()[item].name for item in single]
    return {
        "100 captions as labels": await _accuracy(container, whole, captions, rng),
        "100 names as labels": await _accuracy(container, list(single.values()), names, rng),
    }


async def _accuracy(container: Container, scenes: list[Scene], labels: list[str], rng: random.Random) -> float:
    right = 0
    for scene, label in zip(scenes, labels, strict=True):
        source = PictureSource(content=photograph(scene, rng))
        ranking = await container.classifying.classify(DEFAULT_TENANT, source, Labelling(labels))
        right += ranking.labels[0].label == label
    return right / len(labels)


MEASURES: tuple[Callable[[Container, int], Awaitable[Numbers]], ...] = (
    measure_fusion,
    measure_any,
    measure_no_match,
    measure_classification,
)


async def measure(seed: int, model: str) -> Numbers:
    """All numbers of one set of scenes but those of duplicates."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model=model, store="memory:", data=Path(folder))
        container = build_container(settings, build_local_encoder(settings))
        try:
            await container.open()
            numbers: Numbers = {}
            for take in MEASURES:
                numbers |= await take(container, seed)
            return numbers
        finally:
            await container.close()


def measure_duplicates(seed: int, model: str) -> Numbers:
    """F1 of copies, over all kinds and by each."""
    scores = eval_duplicates.measure(seed, model=model)
    return {f"{'' if kind == 'all' else '  '}{_kind(kind)}": score.f1 for kind, score in scores.items()}


def _kind(kind: str) -> str:
    return "duplicates F1" if kind == "all" else f"{kind} F1"


def main() -> int:
    """Reads the command line, measures, prints; 1 where `--require` is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=101, help="of the first set; the others follow it")
    parser.add_argument("--sets", type=int, default=2)
    parser.add_argument("--model", default="tiny", help="as CROSSMODAL_MODEL names it")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--require", action="store_true", help="fail below the required numbers")
    options = parser.parse_args()
    start = time.monotonic()
    results: dict[str, list[float]] = {}
    for seed in range(options.seed, options.seed + options.sets):
        for name, value in (
            asyncio.run(measure(seed, options.model)) | measure_duplicates(seed, options.model)
        ).items():
            results.setdefault(name, []).append(value)
    print(f"{'measure':46}{'mean':>8}{'lowest':>8}{'required':>10}")
    for name, values in results.items():
        needed = f"{REQUIRED[name]:.2f}" if name in REQUIRED else ""
        print(f"{name:46}{statistics.mean(values):8.3f}{min(values):8.3f}{needed:>10}")
    print(f"{options.sets} sets, seeds from {options.seed}, {time.monotonic() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({"seed": options.seed, "results": results}, indent=2) + "\n", "utf-8")
    missed = [name for name, least in REQUIRED.items() if min(results[name]) < least]
    missed += [
        f"{name} above {other.strip()}"
        for name, others in BEATS.items()
        for other in others
        if any(value <= alone for value, alone in zip(results[name], results[other], strict=True))
    ]
    if missed:
        print("below what is required: " + ", ".join(missed), file=sys.stderr)
    return 1 if missed and options.require else 0


if __name__ == "__main__":
    sys.exit(main())
