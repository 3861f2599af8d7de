"""Turns cosines of the exported model into probabilities of a match, and writes the fit beside the weights.

Usage: python -m tools.tiny_clip.calibrate [--model DIR] [--scenes 1500] [--seed 7]

Cosines mean different things between a caption and a picture and between two pictures, so each kind of pair gets its
own logistic curve, p = 1 / (1 + exp(-slope * (cosine - midpoint))), fitted as `crossmodal.search.calibrating` fits it. The scenes are fresh and of seen
combinations. Matches are a scene's picture with a caption of it, two pictures of it, or two captions of it; captions
may leave facts out, as users do. Of the non-matches half are with any other scene and half with a scene that differs
in one fact, leaving out pairs where the caption is true of the other scene all the same. Mean and standard deviation
are of the cosines between a scene and the one drawn after it, which has nothing to do with it.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossmodal.search.calibrating import fit_logistic
from tools.tiny_clip.captions import Caption, agreement, describe, scene_facts
from tools.tiny_clip.loading import MODEL_FOLDER, Encoder, photographs
from tools.tiny_clip.world import Scene, draw_neighbour, draw_scene

CALIBRATION_FILE = "calibration.json"
METHOD = "Platt scaling (1999), classes weighted equally, on fresh rendered scenes of seen combinations"

Floats = npt.NDArray[np.float64]


def collect(encoder: Encoder, count: int, rng: random.Random) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Cosines of matches, of non-matches and of unrelated pairs, by kind of pair, from `count` scenes."""
    scenes = [draw_scene(rng) for _ in range(count)]
    # The second half of the strangers are near misses.
    strangers = [draw_scene(rng) if at % 2 else draw_neighbour(scene, rng) for at, scene in enumerate(scenes)]
    said, again = ([describe(scene, rng) for scene in scenes] for _ in range(2))
    unlike = [describe(scene, rng) for scene in strangers]
    words, words_again, words_unlike = (_vectors(encoder, captions) for captions in (said, again, unlike))
    shown, shown_again, shown_unlike = (
        encoder.images(photographs(those, rng)).double().numpy() for those in (scenes, scenes, strangers)
    )
    false = np.array([not _true_of(caption, other) for caption, other in zip(said, strangers, strict=True)])
    # Two captions differ when neither scene fits the other's caption.
    apart = false & np.array([not _true_of(caption, own) for caption, own in zip(unlike, scenes, strict=True)])
    across = _cosines(words, shown), _cosines(words, shown_unlike)[false]
    crossed, shown_next, words_next = (
        _cosines(words, _next(shown)),
        _cosines(shown, _next(shown)),
        _cosines(words, _next(words)),
    )
    return {
        "text-image": (*across, crossed),
        # A cosine has no direction: a picture asking for captions sees the same numbers.
        "image-text": (*across, crossed),
        "image-image": (
            _cosines(shown, shown_again),
            _cosines(shown, shown_unlike)[_different(scenes, strangers)],
            shown_next,
        ),
        "text-text": (_cosines(words, words_again), _cosines(words, words_unlike)[apart], words_next),
    }


def _next(vectors: Floats) -> Floats:
    """Vectors of other scenes: each row becomes the one after it."""
    return np.roll(vectors, 1, axis=0)


def _vectors(encoder: Encoder, captions: list[Caption]) -> Floats:
    vectors: Floats = encoder.texts([caption.text for caption in captions]).double().numpy()
    return vectors


def _true_of(caption: Caption, scene: Scene) -> bool:
    facts = np.array([caption.facts], dtype=np.int16), np.array([scene_facts(scene)], dtype=np.int16)
    return bool(agreement(*facts)[0, 0])


def _different(scenes: list[Scene], strangers: list[Scene]) -> npt.NDArray[np.bool_]:
    return np.array([scene != other for scene, other in zip(scenes, strangers, strict=True)])


def _cosines(first: Floats, second: Floats) -> Floats:
    cosines: Floats = (first * second).sum(axis=1)
    return cosines


def calibrate(folder: Path, scenes: int, seed: int) -> dict[str, Any]:
    """The content of the calibration file for the model in `folder`."""
    cosines = collect(Encoder(folder), scenes, random.Random(seed))
    pairs = {}
    for kind, (matches, others, unrelated) in cosines.items():
        midpoint, slope = fit_logistic(matches, others)
        curve = {"midpoint": round(midpoint, 4), "slope": round(slope, 3)}
        pairs[kind] = curve | {"mean": round(unrelated.mean(), 4), "std": round(unrelated.std(), 4)}
        print(f"{kind}: matches {matches.mean():.3f}, others {others.mean():.3f} -> {pairs[kind]}")
    return {"method": METHOD, "pairs": pairs}


def main() -> None:
    """Reads the command line, fits, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    content = calibrate(options.model, options.scenes, options.seed)
    (options.model / CALIBRATION_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
