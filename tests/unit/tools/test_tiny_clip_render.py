"""Drawing: what needs the emoji font, and says so where it is missing."""

import random

import numpy as np
import pytest
from PIL import Image

from tools.tiny_clip.batches import BatchMaker
from tools.tiny_clip.loading import MODEL_FOLDER
from tools.tiny_clip.objects import by_name, things
from tools.tiny_clip.render import FONT, FONT_PACKAGE, FastRenderer, glyph_picture, layout, render
from tools.tiny_clip.vocabulary import tokenizer
from tools.tiny_clip.world import BACKGROUNDS, Scene, draw_scene, is_held_out

THREE_BANANAS = Scene("group", by_name()["banana"].index, "blue", count=3)


@pytest.fixture(scope="module", autouse=True)
def _font() -> None:
    if not FONT.is_file():
        pytest.fail(f"{FONT.name} is missing: install the Debian package {FONT_PACKAGE}")


def test_the_font_draws_every_object() -> None:
    for thing in things():
        for glyph in thing.glyphs:
            assert max(glyph_picture(glyph).size) > 60, thing.name


def test_the_same_seed_draws_the_same_picture() -> None:
    first, again, other = (render(THREE_BANANAS, random.Random(seed)).tobytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_group_shows_as_many_sprites_as_it_counts() -> None:
    rng = random.Random(0)
    for count in (1, 2, 3, 4):
        placed = layout(Scene("group", THREE_BANANAS.item, "blue", count=count), rng)
        assert len(placed) == count
        assert len({sprite.glyph for sprite in placed}) == 1


def test_pairs_and_positions_stand_where_they_say() -> None:
    rng = random.Random(0)
    first, second = layout(Scene("pair", 1, "red", place="left of", other=2), rng)
    assert first.x < second.x
    first, second = layout(Scene("pair", 1, "red", place="above", other=2), rng)
    assert first.y < second.y
    (top,) = layout(Scene("position", 1, "red", place="top"), rng)
    (right,) = layout(Scene("position", 1, "red", place="right"), rng)
    assert top.y < 0.4
    assert right.x > 0.6


def test_the_corner_has_the_colour_of_the_background() -> None:
    rng = random.Random(0)
    for name, colour in BACKGROUNDS.items():
        picture = render(Scene("group", THREE_BANANAS.item, name), rng, side=64)
        difference = np.asarray(picture)[0, 0].astype(int) - colour
        assert np.abs(difference).max() < 45, name


def test_small_training_pictures_look_like_large_ones_reduced() -> None:
    rng = random.Random(7)
    renderer = FastRenderer()
    for scene in (draw_scene(rng) for _ in range(20)):
        seed = rng.random()
        small = renderer.render(scene, random.Random(seed))
        large = render(scene, random.Random(seed)).resize(small.size, Image.Resampling.BICUBIC)
        difference = np.abs(np.asarray(small, dtype=float) - np.asarray(large, dtype=float)).mean()
        assert difference < 12, scene


def test_training_batches_never_hold_a_held_out_combination() -> None:
    maker = BatchMaker(tokenizer(MODEL_FOLDER), seed=0)
    scenes = maker.scenes(20_000)
    assert not [scene for scene in scenes if is_held_out(scene)]
    assert {scene.kind for scene in scenes} == {"group", "position", "pair"}


def test_a_batch_is_whole_and_the_same_for_the_same_seed() -> None:
    words = tokenizer(MODEL_FOLDER)
    batch, again = (BatchMaker(words, seed=3).next(24) for _ in range(2))
    assert batch.images.shape == (24, 3, 64, 64)
    assert batch.tokens.shape[0] >= 24
    assert batch.tokens.shape[1] == 32
    assert batch.excluded.shape == (len(batch.tokens), 24)
    assert batch.images.equal(again.images)
    assert batch.tokens.equal(again.tokens)
    assert not batch.excluded[:24].diagonal().any()
