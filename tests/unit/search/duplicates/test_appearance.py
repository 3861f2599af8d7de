"""Copies of photographs correlate, other pictures do not, and a crop is found where it was taken."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from crossmodal.imaging import make_signature
from crossmodal.search.duplicates.appearance import Looks, colour_change, windows
from crossmodal.search.duplicates.looks import COLOUR_AT_MOST, FRAME_AT_LEAST, PART_AT_LEAST, Lookalikes


def scene(seed: int, side: int = 240) -> Image.Image:
    """Coloured boxes on a coloured ground, like no other seed's."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (side, side * 3 // 4), tuple(int(level) for level in random.integers(60, 200, 3)))
    for _ in range(9):
        left, top = random.integers(0, side - 40), random.integers(0, side * 3 // 4 - 40)
        width, height = random.integers(15, 70, 2)
        box = Image.new("RGB", (int(width), int(height)), tuple(random.integers(0, 255, 3).tolist()))
        picture.paste(box, (int(left), int(top)))
    return picture


def looks_of(*pictures: Image.Image) -> Looks:
    return Looks([make_signature(picture) for picture in pictures])


def places(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.intp)


def test_vectors_are_unit_and_flat_ones_zero() -> None:
    looks = looks_of(scene(1), Image.new("RGB", (50, 50), (9, 99, 9)))
    lengths = np.linalg.norm(looks.vectors(places(0, 1)), axis=1)
    np.testing.assert_allclose(lengths, [1, 0], atol=1e-5)
    assert looks.flat().tolist() == [1]


def test_frames_do_not_depend_on_size_brightness_or_contrast() -> None:
    one = scene(1)
    brighter = ImageEnhance.Contrast(ImageEnhance.Brightness(one).enhance(0.8)).enhance(0.7)
    looks = looks_of(one, one.resize((120, 90)), brighter, scene(2))
    vectors = looks.vectors(places(0, 1, 2, 3))
    scores = vectors @ vectors[0]
    assert scores[1] > 0.99
    assert scores[2] > 0.97
    assert abs(scores[3]) < 0.4


@pytest.mark.parametrize("box", [(0, 0, 200, 180), (20, 10, 220, 170), (0, 0, 240, 140), (35, 20, 215, 155)])
def test_a_crop_is_found_where_it_was_taken(box: tuple[int, int, int, int]) -> None:
    whole = scene(3)
    looks = looks_of(whole, whole.crop(box))
    scores, at = windows(looks, places(0, 1), places(1, 0))
    assert scores[0] > PART_AT_LEAST
    assert scores[1] < scores[0]  # the whole is no part of the crop
    left, top, width, height = at[0]
    found = np.array([left * 240, top * 180, (left + width) * 240, (top + height) * 180])
    np.testing.assert_allclose(found, box, atol=3)


def test_other_pictures_have_no_such_part() -> None:
    looks = looks_of(*(scene(seed) for seed in range(8)))
    left, right = np.triu_indices(8, 1)
    assert windows(looks, left, right)[0].max() < 0.8


def test_another_colour_is_seen_and_another_saturation_is_not() -> None:
    one = scene(5)
    pale, grey = ImageEnhance.Color(one).enhance(0.5), one.convert("L").convert("RGB")
    swapped = Image.merge("RGB", one.split()[::-1])
    looks = looks_of(one, pale, grey, swapped)
    whole = np.tile(np.array([[0, 0, 1, 1]], np.float32), (3, 1))
    changes = colour_change(looks, places(0, 0, 0), places(1, 2, 3), whole)
    assert changes[0] < 4
    assert changes[1] < 4
    assert changes[2] > COLOUR_AT_MOST


def test_all_copies_of_one_are_joined_to_each_other() -> None:
    one = scene(6)
    grey_crop = one.crop((18, 15, 220, 160)).convert("L").convert("RGB")
    pictures = [
        one,
        one.resize((100, 75)),
        one.crop((10, 10, 225, 165)),
        grey_crop,
        *(scene(seed) for seed in range(20, 30)),
    ]
    alike = Lookalikes(looks_of(*pictures), None)
    unlike = np.eye(len(pictures), dtype=np.float32)
    unlike[1], unlike[2] = unlike[0], unlike[0]  # the model takes three for the same and the grey one for another
    unlike[3] = 0.8 * unlike[0] + 0.6 * unlike[3]
    for _ in alike.steps(lambda rows: unlike[rows], 0.7):
        pass
    left, right, scores = alike.near.pairs()
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}
    assert scores.min() >= min(FRAME_AT_LEAST, PART_AT_LEAST)


def test_flat_pictures_are_the_same_if_their_colour_is() -> None:
    flats = [
        Image.new("RGB", (40 + row, 40), colour) for row, colour in enumerate(((200, 0, 0), (201, 1, 0), (0, 160, 0)))
    ]
    alike = Lookalikes(looks_of(*flats), None)
    for _ in alike.steps(lambda rows: np.eye(3, dtype=np.float32)[rows], 0.7):
        pass
    left, right, scores = alike.near.pairs()
    assert (left.tolist(), right.tolist(), scores.tolist()) == ([0], [1], [1.0])
