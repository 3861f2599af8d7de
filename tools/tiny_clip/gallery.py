"""Makes the sample gallery: pictures and captions of combinations that the tiny model never saw in training.

Usage: python -m tools.tiny_clip.gallery [--out samples] [--photographs FOLDER]

The same font and libraries give the same files. `--photographs` names a folder that holds the photographs listed in
`tools.tiny_clip.photographs`; without it those already in the gallery are kept as they are.
"""

import argparse
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.tiny_clip.captions import describe, plain_caption
from tools.tiny_clip.objects import by_name, things
from tools.tiny_clip.photographs import add_photographs, listed_photographs
from tools.tiny_clip.render import GALLERY_SIZE, render
from tools.tiny_clip.world import BACKGROUNDS, COUNTS, POSITIONS, RELATIONS, Scene, is_held_out

FAMILIAR = """
airplane, alarm clock, anchor, ant, apple, avocado, backpack, ball of yarn, balloon, banana, basketball, bear, bed,
bee, bell, bicycle, bird, book, boot, bus, butterfly, cactus, camera, candle, car, carrot, castle, cat, chair, chicken,
cookie, cow, crab, croissant, crown, cup of coffee, dinosaur, dog, dolphin, donut, dress, drum, duck, egg, elephant,
fire truck, fish, flamingo, fox, frog, ghost, giraffe, guitar, hamburger, hammer, helicopter, horse, hot dog, house,
ice cream cone, key, kite, laptop, lemon, light bulb, lion, mushroom, octopus, orange, owl, panda, pencil, penguin, pig,
pineapple, rabbit, robot, rocket, rose, sailboat, shark, slice of pizza, snail, snowman, soccer ball, spider, star,
strawberry, sun, sunflower, t-shirt, teddy bear, tiger, tomato, tractor, train, tree, turtle, umbrella, violin, whale
"""
"""Usual names of the objects in the gallery."""

GROUPS_EACH = 4  # scenes of counts and backgrounds for each object
ALONE_AT_LEAST = 3  # pictures of each object alone; positions fill up what groups lack
POSITIONS_IN_ALL = 40
PAIRS_IN_ALL = 45
SEED = 2024
_QUALITY = 80  # WebP


def gallery_scenes() -> list[Scene]:
    """The gallery's scenes, all held out from training, in the order of their files."""
    rng = random.Random(SEED)
    names = [name.strip() for name in FAMILIAR.replace("\n", " ").split(",")]
    items = [by_name()[name].index for name in names]
    scenes = [scene for item in items for scene in _groups_of(item, rng)]
    scenes += rng.sample(list(_positions_of(items)), POSITIONS_IN_ALL)
    for item in items:
        lacking = ALONE_AT_LEAST - sum(scene.item == item for scene in scenes)
        more = [scene for scene in _positions_of([item]) if scene not in scenes]
        scenes += more[: max(0, lacking)]
    scenes += rng.sample(list(_pairs_of(items, rng)), PAIRS_IN_ALL)
    return scenes


def _groups_of(item: int, rng: random.Random) -> list[Scene]:
    """A few held-out groups of one object: near misses of each other in number and background."""
    possible = [Scene("group", item, colour, count=count) for colour in BACKGROUNDS for count in COUNTS]
    unseen = [scene for scene in possible if is_held_out(scene)]
    showcase = Scene("group", by_name()["banana"].index, "blue", count=3)
    chosen = [scene for scene in unseen if scene == showcase]
    rest = [scene for scene in unseen if scene != showcase]
    return chosen + rng.sample(rest, min(GROUPS_EACH - len(chosen), len(rest)))


def _positions_of(items: Iterable[int]) -> Iterator[Scene]:
    for item in items:
        for place in POSITIONS:
            for colour in BACKGROUNDS:
                scene = Scene("position", item, colour, place=place)
                if is_held_out(scene):
                    yield scene


def _pairs_of(items: list[int], rng: random.Random) -> Iterator[Scene]:
    for item in items:
        for other in items:
            for place in RELATIONS:
                scene = Scene("pair", item, rng.choice(tuple(BACKGROUNDS)), place=place, other=other)
                if item != other and is_held_out(scene):
                    yield scene


def metadata(scene: Scene) -> dict[str, str | int]:
    """A scene's facts under the keys that the samples use; a pair adds `other` and `relation`, a side `position`."""
    facts: dict[str, str | int] = {
        "caption": plain_caption(scene),
        "kind": scene.kind,
        "object": things()[scene.item].name,
        "count": scene.count,
        "background": scene.background,
    }
    if scene.kind == "position":
        facts["position"] = scene.place
    if scene.other is not None:
        facts |= {"other": things()[scene.other].name, "relation": scene.place}
    return facts


def file_name(scene: Scene) -> str:
    """A readable name: "three-bananas-on-a-blue-background.webp"."""
    return re.sub(r"[^a-z0-9]+", "-", plain_caption(scene)).strip("-") + ".webp"


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes one JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def make(out: Path, photographs: Path | None) -> None:
    """Writes pictures, their metadata and the captions under `out`."""
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    scenes = gallery_scenes()
    for old in images.glob("*.webp"):
        old.unlink()
    rows: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    for scene in scenes:
        # A generator of its own for each picture: adding one changes no other.
        rng = random.Random(f"{SEED} {file_name(scene)}")
        picture = render(scene, rng, side=GALLERY_SIZE)
        picture.save(images / file_name(scene), "WEBP", quality=_QUALITY, method=6)
        rows.append({"file_name": file_name(scene), **metadata(scene)})
        captions.append({"text": describe(scene, rng, full=True).text, "metadata": metadata(scene)})
    if photographs is not None:
        add_photographs(photographs, images)
    write_lines(images / "metadata.jsonl", [*rows, *listed_photographs()])
    write_lines(out / "captions.jsonl", captions)
    size = sum(path.stat().st_size for path in images.rglob("*") if path.is_file())
    print(f"{len(rows)} pictures and {len(captions)} captions in {out}, {size / 1e6:.2f} MB")


def main() -> None:
    """Reads the command line and writes the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("samples"))
    parser.add_argument("--photographs", type=Path, help="folder with the photographs' original files")
    options = parser.parse_args()
    make(options.out, options.photographs)


if __name__ == "__main__":
    main()
