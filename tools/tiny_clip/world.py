"""What can be shown: scenes, the combinations kept out of training, and how scenes are drawn.

A scene is a set of facts, not pixels; `render` draws it and `captions` describes it. Every object, number,
background, place and relation is seen alone in training. A tenth of their combinations never is, so that a test on
those asks whether the model composes what it knows.
"""

import hashlib
import random
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from tools.tiny_clip.objects import things

Kind = Literal["group", "position", "pair"]
Place = Literal["", "left", "right", "top", "bottom", "left of", "above"]
Split = Literal["seen", "unseen"]

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (45, 90, 215),
    "yellow": (242, 214, 50),
    "orange": (245, 135, 25),
    "purple": (135, 55, 180),
    "pink": (248, 150, 195),
    "brown": (120, 76, 48),
    "gray": (140, 140, 140),
    "black": (20, 20, 20),
    "white": (250, 250, 250),
}
"""Background colours by name, 8-bit sRGB."""

COUNTS = (1, 2, 3, 4)
POSITIONS: tuple[Place, ...] = ("left", "right", "top", "bottom")
RELATIONS: tuple[Place, ...] = ("left of", "above")
PLACES: tuple[Place, ...] = ("", *POSITIONS, *RELATIONS)

# Shown in the README as a combination that training never held.
_SHOWCASE = ("group", "banana", "3", "blue")
_HELD_OUT_SHARE = 10  # one combination in this many

# Upper ends of the intervals of a uniform draw.
_GROUP, _POSITION = 0.5, 0.7  # kinds; pairs take the rest
_BACKGROUND, _NUMBER, _EXCHANGE, _PLACE = 0.3, 0.85, 0.8, 0.9  # what a neighbour changes; the object takes the rest


@dataclass(frozen=True, slots=True)
class Scene:
    """The facts of one picture.

    `item` and `other` are indices into `things()`. A "group" shows `count` copies of one object around the centre; a
    "position" shows one small object at the side that `place` names; a "pair" shows `item` left of or above `other`,
    as `place` says. "Right of" and "below" are the same scenes with the two exchanged, so they need no place here.
    """

    kind: Kind
    item: int
    background: str
    count: int = 1
    place: Place = ""
    other: int | None = None


def combination(scene: Scene) -> tuple[str, ...]:
    """The facts whose meeting is new in a held-out scene; a pair's background plays no part."""
    name = things()[scene.item].name
    if scene.kind == "group":
        return ("group", name, str(scene.count), scene.background)
    if scene.kind == "position":
        return ("position", name, scene.place, scene.background)
    if scene.other is None:
        raise ValueError("a pair needs a second object, got none")
    return ("pair", name, scene.place, things()[scene.other].name)


@cache
def _is_held_out(parts: tuple[str, ...]) -> bool:
    # A hash of the names, not of indices: adding an object to the table moves no other combination.
    digest = hashlib.blake2b("|".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _HELD_OUT_SHARE == 0 or parts == _SHOWCASE


def is_held_out(scene: Scene) -> bool:
    """Whether training must never show this scene's combination."""
    return _is_held_out(combination(scene))


def draw_scene(rng: random.Random, *, split: Split = "seen") -> Scene:
    """A random scene of one side of the split; half of them groups, the rest positions and pairs."""
    while True:
        scene = _any_scene(rng)
        if is_held_out(scene) == (split == "unseen"):
            return scene


def draw_neighbour(scene: Scene, rng: random.Random, *, split: Split = "seen") -> Scene:
    """A scene that differs from `scene` in one fact: the hard negatives that teach binding."""
    for _ in range(50):
        other = _change_one_fact(scene, rng)
        if other != scene and is_held_out(other) == (split == "unseen"):
            return other
    return draw_scene(rng, split=split)


def exchanged(scene: Scene) -> Scene:
    """A pair with its two objects in each other's place; raises ValueError for any other kind."""
    if scene.other is None:
        raise ValueError(f"only a pair can be exchanged, got a {scene.kind}")
    return replace(scene, item=scene.other, other=scene.item)


def _any_scene(rng: random.Random) -> Scene:
    item, background = rng.randrange(len(things())), rng.choice(tuple(BACKGROUNDS))
    kind = rng.random()
    if kind < _GROUP:
        return Scene("group", item, background, count=rng.choice(COUNTS))
    if kind < _POSITION:
        return Scene("position", item, background, place=rng.choice(POSITIONS))
    return Scene("pair", item, background, place=rng.choice(RELATIONS), other=_another(item, rng))


def _another(item: int, rng: random.Random) -> int:
    other = rng.randrange(len(things()) - 1)
    return other + (other >= item)


def _change_one_fact(scene: Scene, rng: random.Random) -> Scene:
    what = rng.random()
    if what < (_BACKGROUND / 2 if scene.kind == "pair" else _BACKGROUND):
        return replace(scene, background=rng.choice(tuple(BACKGROUNDS)))
    if scene.kind == "position":
        return replace(scene, place=rng.choice(POSITIONS))
    if scene.kind == "pair":
        return _change_pair(scene, what, rng)
    if what < _NUMBER:
        return replace(scene, count=rng.choice(COUNTS))
    return replace(scene, item=_another(scene.item, rng))


def _change_pair(scene: Scene, what: float, rng: random.Random) -> Scene:
    if what < _EXCHANGE:
        return exchanged(scene)
    if what < _PLACE:
        return replace(scene, place=rng.choice(RELATIONS))
    return replace(scene, other=_another(scene.item, rng))
