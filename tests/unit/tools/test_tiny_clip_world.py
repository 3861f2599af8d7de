"""What training may show, and what it must never show."""

import random
from collections import Counter
from itertools import product

import pytest

from tools.tiny_clip.objects import by_name, things
from tools.tiny_clip.world import (
    BACKGROUNDS,
    COUNTS,
    POSITIONS,
    RELATIONS,
    Scene,
    Split,
    draw_neighbour,
    draw_scene,
    is_held_out,
)

BANANA = by_name()["banana"].index


def all_groups() -> list[Scene]:
    return [
        Scene("group", thing.index, colour, count=count)
        for thing in things()
        for colour in BACKGROUNDS
        for count in COUNTS
    ]


def test_there_are_at_least_500_objects_with_names_and_glyphs_of_their_own() -> None:
    assert len(things()) >= 500
    names = Counter(singular for thing in things() for singular, _ in thing.names)
    glyphs = Counter(glyph for thing in things() for glyph in thing.glyphs)
    assert [name for name, times in names.items() if times > 1] == []
    assert [glyph for glyph, times in glyphs.items() if times > 1] == []
    assert all(len(glyph) == 1 for glyph in glyphs)


def test_three_bananas_on_blue_are_held_out() -> None:
    assert is_held_out(Scene("group", BANANA, "blue", count=3))


def test_about_a_tenth_of_each_kind_is_held_out() -> None:
    rng = random.Random(3)
    positions = [Scene("position", t.index, c, place=p) for t in things() for c in BACKGROUNDS for p in POSITIONS]
    pairs = [
        Scene("pair", rng.randrange(len(things())), "red", place=place, other=rng.randrange(len(things())))
        for place in RELATIONS
        for _ in range(5000)
    ]
    for scenes in (all_groups(), positions, pairs):
        assert 0.09 < sum(map(is_held_out, scenes)) / len(scenes) < 0.11


def test_the_rule_is_the_same_on_every_machine() -> None:
    held_out = [scene for scene in all_groups() if scene.item == BANANA and is_held_out(scene)]
    assert {(scene.count, scene.background) for scene in held_out} == {
        (3, "blue"),
        (3, "black"),
        (4, "yellow"),
        (4, "gray"),
    }


def test_every_object_number_and_background_is_seen_alone() -> None:
    seen = [scene for scene in all_groups() if not is_held_out(scene)]
    assert {scene.item for scene in seen} == {thing.index for thing in things()}
    assert {(scene.count, scene.background) for scene in seen} == set(product(COUNTS, BACKGROUNDS))
    assert {(scene.item, scene.count) for scene in seen} == set(product(range(len(things())), COUNTS))


def test_a_pairs_background_plays_no_part_in_the_rule() -> None:
    rng = random.Random(5)
    pairs = [scene for scene in (draw_scene(rng) for _ in range(300)) if scene.other is not None]
    for scene in pairs:
        twins = [Scene("pair", scene.item, c, place=scene.place, other=scene.other) for c in BACKGROUNDS]
        assert not any(map(is_held_out, twins))


@pytest.mark.parametrize("side", ["seen", "unseen"])
def test_scenes_and_their_neighbours_stay_on_their_side_of_the_split(side: Split) -> None:
    rng = random.Random(1)
    kinds = Counter[str]()
    for _ in range(2000):
        scene = draw_scene(rng, split=side)
        neighbour = draw_neighbour(scene, rng, split=side)
        assert is_held_out(scene) == is_held_out(neighbour) == (side == "unseen")
        assert scene != neighbour
        kinds[scene.kind] += 1
    assert set(kinds) == {"group", "position", "pair"}


def test_a_pair_never_shows_one_object_twice() -> None:
    rng = random.Random(2)
    scenes = [draw_scene(rng) for _ in range(3000)]
    scenes += [draw_neighbour(scene, rng) for scene in scenes]
    assert not [scene for scene in scenes if scene.other == scene.item]


def test_a_pair_without_a_second_object_is_refused() -> None:
    with pytest.raises(ValueError, match="second object"):
        is_held_out(Scene("pair", BANANA, "red", place="above"))
