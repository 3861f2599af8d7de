"""Measures what `/classify` and `/describe` make of fresh held-out scenes with the bundled model, and prints a table.

Usage: python -m tools.tiny_clip.zero_shot [--scenes 100] [--seed 1]   (some minutes)

Scenes are of combinations that training never held, drawn at 320 pixels and through a lossy WebP file, and asked about
through the service's own use cases. "Captions" are as many labels as scenes, each a whole sentence that fits one of
them; "names" the names of as many different objects, the right one among them; "none" leaves the right one out and asks
whether "none of these" comes first, and "right" keeps it in beside "none of these". Tags are of pictures of all kinds,
pairs of objects among them; those of objects count as right if they are any name of an object shown, and recall counts
the objects that the vocabulary has.
"""

import argparse
import asyncio
import io
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from crossmodal.records import DEFAULT_TENANT
from crossmodal.search.classifying import Labelling
from crossmodal.search.seeing import PictureSource
from crossmodal.search.vocabulary import load_vocabulary
from crossmodal.settings import Settings
from crossmodal.wiring import Container, build_container, build_local_encoder
from tools.tiny_clip.captions import plain_caption
from tools.tiny_clip.loading import photographs
from tools.tiny_clip.objects import things
from tools.tiny_clip.scores import distinct_scenes
from tools.tiny_clip.world import BACKGROUNDS, Scene, draw_scene

TEMPLATES: dict[str, tuple[str, ...]] = {
    "{}": ("{}",),
    "a photo of {}": ("a photo of {}",),
    "a photo of a {}": ("a photo of a {}",),
    "the three together": ("{}", "a photo of {}", "a photo of a {}"),
}


def _sources(scenes: Sequence[Scene], rng: random.Random) -> list[PictureSource]:
    return [PictureSource(content=_png(picture)) for picture in photographs(scenes, rng)]


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def single_scenes(count: int, rng: random.Random) -> list[Scene]:
    """Held-out scenes of `count` different objects, one kind of object in each."""
    found: dict[int, Scene] = {}
    while len(found) < count:
        scene = draw_scene(rng, split="unseen")
        if scene.other is None:
            found.setdefault(scene.item, scene)
    return list(found.values())


async def accuracy(
    container: Container, pictures: Sequence[PictureSource], right: Sequence[str | None], asked: Sequence[Labelling]
) -> float:
    """Share of pictures whose first label is the right one, None for "none of these"."""
    hits = 0
    for picture, label, labelling in zip(pictures, right, asked, strict=True):
        ranking = await container.classifying.classify(DEFAULT_TENANT, picture, labelling)
        hits += ranking.labels[0].label == label
    return hits / len(pictures)


async def classification(container: Container, count: int, rng: random.Random) -> None:
    """Print accuracies by template."""
    whole, single = distinct_scenes(count, rng, split="unseen"), single_scenes(count, rng)
    captions, names = [plain_caption(scene) for scene in whole], [things()[scene.item].name for scene in single]
    colours = list(BACKGROUNDS)
    of_whole, of_single = _sources(whole, rng), _sources(single, rng)
    print(f"{'template':22}{'captions':>10}{'names':>8}{'colours':>9}{'none':>7}{'right':>7}")
    for name, templates in TEMPLATES.items():
        shares = [
            await accuracy(container, of_whole, captions, [Labelling(captions, templates)] * count),
            await accuracy(container, of_single, names, [Labelling(names, templates)] * count),
            await accuracy(
                container, of_single, [scene.background for scene in single], [Labelling(colours, templates)] * count
            ),
            await accuracy(
                container,
                of_single,
                [None] * count,
                [
                    Labelling([each for each in names if each != shown], templates, none_of_these=True)
                    for shown in names
                ],
            ),
            await accuracy(container, of_single, names, [Labelling(names, templates, none_of_these=True)] * count),
        ]
        print(
            f"{name:22}"
            + "".join(f"{share:>{width}.2f}" for share, width in zip(shares, (10, 8, 9, 7, 7), strict=True))
        )


async def tags(container: Container, count: int, rng: random.Random) -> None:
    """Print precision and recall of tags."""
    scenes = [draw_scene(rng, split="unseen") for _ in range(count)]
    sections = load_vocabulary(container.settings.vocabulary)
    known = {word for section in sections if not section.always for word in section.words}
    given = {"objects": 0, "colours": 0}
    right, there = dict(given), dict(given)
    for scene, source in zip(scenes, _sources(scenes, rng), strict=True):
        description = await container.describing.describe(DEFAULT_TENANT, source, n_results=1)
        said = {tag.tag for tag in description.tags}
        shown = [things()[item] for item in (scene.item, scene.other) if item is not None]
        names = [{single for single, _ in thing.names} & known for thing in shown]
        # "orange" is a colour and a fruit: it counts as the colour, unless the fruit is shown.
        objects = {tag for tag in said if tag not in BACKGROUNDS or any(tag in each for each in names)}
        coloured = {tag for tag in said if tag in BACKGROUNDS} - (objects - {scene.background})
        for kind, found, truths in (("objects", objects, names), ("colours", coloured, [{scene.background}])):
            given[kind] += len(found)
            right[kind] += len(found & set().union(*truths))
            there[kind] += sum(map(bool, truths))
    for kind, count_given in given.items():
        print(
            f"tags, {kind}: precision {right[kind] / max(1, count_given):.3f} of {count_given} given, "
            f"recall {right[kind] / there[kind]:.3f} of {there[kind]}"
        )


async def measure(scenes: int, seed: int) -> None:
    """Measure with the bundled model, and print."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model="tiny", store="memory:", data=Path(folder))
        container = build_container(settings, build_local_encoder(settings))
        await container.open()
        try:
            await classification(container, scenes, rng)
            await tags(container, 4 * scenes, rng)
        finally:
            await container.close()


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100, help="labels and pictures; four times as many for tags")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    asyncio.run(measure(options.scenes, options.seed))


if __name__ == "__main__":
    main()
