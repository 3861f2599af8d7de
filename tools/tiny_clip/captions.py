"""Sentences about scenes, and which scenes a sentence is true of.

A caption may leave facts out ("two dogs"). It is then true of several pictures, so each caption carries what it said
and training does not count a picture that fits as a wrong answer. A caption that names an object and nothing else
("dog", "a dog", "dogs") is true of every picture with that object: so people search.
"""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.tiny_clip.grammar import NUMBER_WORDS, article
from tools.tiny_clip.objects import things
from tools.tiny_clip.world import BACKGROUNDS, PLACES, Scene

UNSAID = -1
NOTHING = -2  # no second object
SEVERAL = 0  # a bare plural: two or more

# How often, of 1, a caption takes a turn of phrase.
_FULL_SHARE = 0.7
_USUAL_NAME = 0.7
_OPENING = 0.25
_BACKGROUND_FIRST = 0.12
_DEFINITE = 0.15
_SMALL = 0.3
_WITH_ARTICLE, _BARE = 0.7, 0.85  # upper ends of the intervals of one draw; "one" takes the rest
_TELL_BACKGROUND = 0.4  # and the next two: of captions that may leave facts out
_TELL_REST_TOO = 0.4
_TELL_REST_ALONE = 0.6
_ONE_OF_PAIR = 0.5

_OPENINGS = ("a photo of ", "a picture of ", "an image of ")
_BACKGROUND_ENDINGS = (
    " on a {} background",
    " on a {} background",
    ", {} background",
    " on {}",
    " against a {} background",
    " with a {} background",
)
_FUNCTION_WORDS = ("a", "an", "the", "small", "one", "and", "next to", "background with")
_POSITION_PHRASES = {
    "left": (" on the left", " at the left", " on the left side"),
    "right": (" on the right", " at the right", " on the right side"),
    "top": (" at the top", " at the top of the picture", " in the top part"),
    "bottom": (" at the bottom", " at the bottom of the picture", " in the bottom part"),
}
# (phrase when the first object is named first, phrase when the second is)
_RELATION_PHRASES = {
    "left of": ((" to the left of ", " left of "), (" to the right of ", " right of ")),
    "above": ((" above ", " over "), (" below ", " under ")),
}


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence and what it says.

    `facts` holds (item, other, count, background, place) as numbers in the manner of `scene_facts`, with `UNSAID`
    where the sentence is silent.
    """

    text: str
    facts: tuple[int, int, int, int, int]


def scene_facts(scene: Scene) -> tuple[int, int, int, int, int]:
    """A scene as numbers: item, other object or `NOTHING`, count, index of the background, index of the place."""
    other = NOTHING if scene.other is None else scene.other
    return scene.item, other, scene.count, tuple(BACKGROUNDS).index(scene.background), PLACES.index(scene.place)


def describe(scene: Scene, rng: random.Random, *, full: bool | None = None) -> Caption:
    """A random sentence true of `scene`.

    `full` asks for every fact (True) or lets some be left out (False); None draws one of the two.
    """
    if full is None:
        full = rng.random() < _FULL_SHARE
    tell_background = full or rng.random() < _TELL_BACKGROUND
    tell_rest = full or rng.random() < (_TELL_REST_TOO if tell_background else _TELL_REST_ALONE)
    said = _said(scene, tell_background=tell_background, tell_rest=tell_rest)
    silent = not tell_background and not tell_rest
    if scene.other is not None and silent and rng.random() < _ONE_OF_PAIR:
        item = rng.choice((scene.item, scene.other))
        text, said = _bare_name(item, rng), _names_only(item)
    elif scene.kind == "pair":
        text = _pair(scene, rng, tell_place=tell_rest)
    elif not tell_background and (silent or (scene.kind == "group" and scene.count == 1)):
        text, said = _bare_name(scene.item, rng), _names_only(scene.item)
    else:
        text = _things_phrase(scene, rng, tell_count=tell_rest or scene.count == 1)
        if scene.kind == "position" and tell_rest:
            small = rng.random() < _SMALL and text.startswith(article(things()[scene.item].name) + " ")
            text = ("a small " + text.split(" ", 1)[1] if small else text) + rng.choice(_POSITION_PHRASES[scene.place])
    if tell_background:
        text = _with_background(text, scene.background, rng)
    if rng.random() < _OPENING:
        text = rng.choice(_OPENINGS) + text
    return Caption(text, said)


def plain_caption(scene: Scene) -> str:
    """The one sentence that names every fact in the usual words, as in "three bananas on a blue background"."""
    first = things()[scene.item]
    if scene.kind == "pair" and scene.other is not None:
        second = things()[scene.other].name
        joint = "to the left of" if scene.place == "left of" else "above"
        text = f"{article(first.name)} {first.name} {joint} {article(second)} {second}"
    elif scene.count > 1:
        text = f"{NUMBER_WORDS[scene.count]} {first.names[0][1]}"
    else:
        text = f"{article(first.name)} {first.name}"
        if scene.kind == "position":
            text += _POSITION_PHRASES[scene.place][0]
    return f"{text} on a{'n' if scene.background == 'orange' else ''} {scene.background} background"


def spoken_phrases() -> list[str]:
    """Every phrase that captions are made of: names, numbers, colours and the words between them."""
    names = [name for thing in things() for pair in thing.names for name in pair]
    places = [phrase for phrases in _POSITION_PHRASES.values() for phrase in phrases]
    relations = [phrase for pair in _RELATION_PHRASES.values() for phrases in pair for phrase in phrases]
    numbers = [*NUMBER_WORDS.values(), *map(str, NUMBER_WORDS)]
    return [*names, *places, *relations, *numbers, *BACKGROUNDS, *_OPENINGS, *_BACKGROUND_ENDINGS, *_FUNCTION_WORDS]


def agreement(captions: npt.NDArray[np.int16], scenes: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Which captions are true of which scenes.

    Takes facts (n, 5) and (m, 5); returns (n, m) booleans.
    """
    said, shown = captions[:, None, :], scenes[None, :, :]
    same = (said == shown) | (said == UNSAID)
    same[..., 2] |= (said[..., 2] == SEVERAL) & (shown[..., 2] > 1)
    straight = same[..., 0] & same[..., 1]
    # "A dog and a cat" names no order, and "a dog" may be either of two.
    crossed = (said[..., 0] == shown[..., 1]) & ((said[..., 1] == shown[..., 0]) | (said[..., 1] == UNSAID))
    crossed &= said[..., 4] == UNSAID
    result: npt.NDArray[np.bool_] = (straight | crossed) & same[..., 2] & same[..., 3] & same[..., 4]
    return result


def _said(scene: Scene, *, tell_background: bool, tell_rest: bool) -> tuple[int, int, int, int, int]:
    item, other, count, background, place = scene_facts(scene)
    if not tell_rest and count > 1:
        count = SEVERAL
    # A group's caption says nothing of the place, so it also fits one object at a side.
    place = place if scene.kind != "group" and tell_rest else UNSAID
    return item, other, count, background if tell_background else UNSAID, place


def _names_only(item: int) -> tuple[int, int, int, int, int]:
    return item, UNSAID, UNSAID, UNSAID, UNSAID


def _bare_name(item: int, rng: random.Random) -> str:
    singular, plural = _name(item, rng)
    return rng.choice((singular, f"{article(singular)} {singular}", plural))


def _things_phrase(scene: Scene, rng: random.Random, *, tell_count: bool) -> str:
    singular, plural = _name(scene.item, rng)
    if scene.count > 1:
        if not tell_count:
            return plural
        return f"{rng.choice((NUMBER_WORDS[scene.count], NUMBER_WORDS[scene.count], str(scene.count)))} {plural}"
    style = rng.random()
    if style < _WITH_ARTICLE:
        return f"{article(singular)} {singular}"
    return singular if style < _BARE else f"one {singular}"


def _pair(scene: Scene, rng: random.Random, *, tell_place: bool) -> str:
    if scene.other is None:
        raise ValueError("a pair needs a second object, got none")
    first, second = (_name(index, rng)[0] for index in (scene.item, scene.other))
    if rng.random() < _DEFINITE:
        first, second = f"the {first}", f"the {second}"
    else:
        first, second = f"{article(first)} {first}", f"{article(second)} {second}"
    forward, backward = _RELATION_PHRASES[scene.place]
    if rng.random() < 1 / 2:
        first, second, forward = second, first, backward
    return first + (rng.choice(forward) if tell_place else rng.choice((" and ", " and ", " next to "))) + second


def _name(index: int, rng: random.Random) -> tuple[str, str]:
    names = things()[index].names
    return names[0] if rng.random() < _USUAL_NAME else rng.choice(names)


def _with_background(text: str, background: str, rng: random.Random) -> str:
    if rng.random() < _BACKGROUND_FIRST:
        return f"{article(background)} {background} background with {text}"
    ending = rng.choice(_BACKGROUND_ENDINGS).format(background)
    return text + ending.replace(" a orange", " an orange")
