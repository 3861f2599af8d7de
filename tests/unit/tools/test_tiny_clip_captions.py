"""Grammar of the captions, and which pictures a caption is true of."""

import random
from itertools import pairwise

import numpy as np
import pytest

from tools.tiny_clip.captions import agreement, describe, plain_caption, scene_facts, spoken_phrases
from tools.tiny_clip.grammar import article, plural
from tools.tiny_clip.objects import by_name
from tools.tiny_clip.world import Scene, draw_scene

INDEX = {name: thing.index for name, thing in by_name().items()}


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("banana", "bananas"),
        ("strawberry", "strawberries"),
        ("monkey", "monkeys"),
        ("fox", "foxes"),
        ("bus", "buses"),
        ("torch", "torches"),
        ("toothbrush", "toothbrushes"),
        ("mouse", "mice"),
        ("computer mouse", "computer mice"),
        ("goose", "geese"),
        ("sheep", "sheep"),
        ("tropical fish", "tropical fish"),
        ("pufferfish", "pufferfish"),
        ("wolf", "wolves"),
        ("kitchen knife", "kitchen knives"),
        ("maple leaf", "maple leaves"),
        ("loaf of bread", "loaves of bread"),
        ("cup of coffee", "cups of coffee"),
        ("pair of jeans", "pairs of jeans"),
        ("nest with eggs", "nests with eggs"),
        ("die", "dice"),
        ("potato", "potatoes"),
        ("piano", "pianos"),
        ("kangaroo", "kangaroos"),
        ("cactus", "cacti"),
        ("octopus", "octopuses"),
        ("snowman", "snowmen"),
        ("bow and arrow", "bows and arrows"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("banana", "a"),
        ("apple", "an"),
        ("unicorn", "a"),
        ("ufo", "a"),
        ("hourglass", "an"),
        ("x-ray", "an"),
        ("ewe", "a"),
    ],
)
def test_articles(noun: str, expected: str) -> None:
    assert article(noun) == expected


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (Scene("group", INDEX["banana"], "blue", count=3), "three bananas on a blue background"),
        (Scene("group", INDEX["apple"], "orange"), "an apple on an orange background"),
        (Scene("position", INDEX["dog"], "red", place="top"), "a dog at the top on a red background"),
        (
            Scene("pair", INDEX["dog"], "green", place="left of", other=INDEX["owl"]),
            "a dog to the left of an owl on a green background",
        ),
        (
            Scene("pair", INDEX["dog"], "white", place="above", other=INDEX["cat"]),
            "a dog above a cat on a white background",
        ),
    ],
)
def test_plain_captions(scene: Scene, expected: str) -> None:
    assert plain_caption(scene) == expected


def test_no_caption_has_a_wrong_article() -> None:
    rng = random.Random(0)
    for _ in range(5000):
        words = describe(draw_scene(rng), rng).text.replace(",", "").split()
        for first, second in pairwise(words):
            if first in {"a", "an"} and second != "small":
                assert first == article(second), " ".join(words)


def test_a_full_caption_tells_everything() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        scene = draw_scene(rng)
        caption = describe(scene, rng, full=True)
        told = caption.facts if scene.kind != "group" else caption.facts[:4]
        assert told == scene_facts(scene)[: len(told)]
        assert scene.background in caption.text


def test_captions_are_varied_and_the_same_for_the_same_seed() -> None:
    scene = Scene("group", INDEX["banana"], "blue", count=3)
    texts = [describe(scene, random.Random(seed)).text for seed in range(200)]
    assert texts == [describe(scene, random.Random(seed)).text for seed in range(200)]
    assert len(set(texts)) > 30
    assert {"three bananas on a blue background", "3 bananas, blue background", "bananas"} <= set(texts)


def true_of(caption: Scene, picture: Scene, *, full: bool) -> set[bool]:
    rng = random.Random(4)
    shown = np.array([scene_facts(picture)], dtype=np.int16)
    said = [describe(caption, rng, full=full).facts for _ in range(60)]
    return {bool(agreement(np.array([facts], dtype=np.int16), shown)[0, 0]) for facts in said}


def test_every_caption_is_true_of_its_own_picture() -> None:
    rng = random.Random(0)
    scenes = [draw_scene(rng) for _ in range(500)]
    said = np.array([describe(scene, rng).facts for scene in scenes], dtype=np.int16)
    shown = np.array([scene_facts(scene) for scene in scenes], dtype=np.int16)
    assert agreement(said, shown).diagonal().all()


def test_a_full_caption_is_false_of_a_near_miss() -> None:
    three = Scene("group", INDEX["banana"], "blue", count=3)
    assert true_of(three, Scene("group", INDEX["banana"], "blue", count=2), full=True) == {False}
    assert true_of(three, Scene("group", INDEX["banana"], "red", count=3), full=True) == {False}
    dog_cat = Scene("pair", INDEX["dog"], "red", place="above", other=INDEX["cat"])
    assert true_of(dog_cat, Scene("pair", INDEX["cat"], "red", place="above", other=INDEX["dog"]), full=True) == {False}
    assert true_of(Scene("group", INDEX["dog"], "red"), dog_cat, full=True) == {False}


def test_a_caption_that_leaves_facts_out_may_fit_other_pictures() -> None:
    three = Scene("group", INDEX["banana"], "blue", count=3)
    assert True in true_of(three, Scene("group", INDEX["banana"], "red", count=2), full=False)
    dog_cat = Scene("pair", INDEX["dog"], "red", place="above", other=INDEX["cat"])
    swapped = Scene("pair", INDEX["cat"], "red", place="left of", other=INDEX["dog"])
    assert True in true_of(dog_cat, swapped, full=False)


def test_a_name_alone_is_true_of_every_picture_with_the_object() -> None:
    rng = random.Random(0)
    dogs = [
        Scene("group", INDEX["dog"], "red"),
        Scene("group", INDEX["dog"], "blue", count=4),
        Scene("position", INDEX["dog"], "red", place="top"),
        Scene("pair", INDEX["dog"], "red", place="above", other=INDEX["cat"]),
        Scene("pair", INDEX["owl"], "red", place="left of", other=INDEX["dog"]),
    ]
    shown = np.array([scene_facts(scene) for scene in [*dogs, Scene("group", INDEX["cat"], "red")]], dtype=np.int16)
    captions = [describe(dogs[0], rng, full=False) for _ in range(200)]
    bare = {caption.text: caption.facts for caption in captions if caption.text in {"dog", "a dog", "dogs"}}
    assert set(bare) == {"dog", "a dog", "dogs"}
    for facts in bare.values():
        assert agreement(np.array([facts], dtype=np.int16), shown).tolist() == [[True] * 5 + [False]]


def test_captions_are_made_of_the_listed_phrases() -> None:
    known = {word for phrase in spoken_phrases() for word in phrase.replace(",", " ").replace("{}", " ").split()}
    rng = random.Random(0)
    for _ in range(3000):
        assert set(describe(draw_scene(rng), rng).text.replace(",", " ").split()) <= known
