"""The gallery and the model that are in the repository."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tools.tiny_clip.gallery import FAMILIAR, file_name, gallery_scenes, metadata
from tools.tiny_clip.objects import by_name
from tools.tiny_clip.photographs import PHOTOGRAPHS
from tools.tiny_clip.render import GALLERY_SIZE
from tools.tiny_clip.world import Place, Scene, is_held_out

SAMPLES = Path("samples")
IMAGES = SAMPLES / "images"
MEGABYTE = 1_000_000


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def listed() -> list[dict[str, Any]]:
    return read_lines(IMAGES / "metadata.jsonl")


@pytest.fixture(scope="module")
def drawn(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in listed if row["kind"] != "photograph"]


def scene_of(row: dict[str, Any]) -> Scene:
    place: Place = row.get("relation", row.get("position", ""))
    other = by_name()[row["other"]].index if "other" in row else None
    return Scene(row["kind"], by_name()[row["object"]].index, row["background"], row["count"], place, other)


def test_every_drawn_picture_shows_a_combination_that_training_never_held(drawn: list[dict[str, Any]]) -> None:
    assert [row["caption"] for row in drawn if not is_held_out(scene_of(row))] == []


def test_the_gallery_is_what_the_tool_plans(drawn: list[dict[str, Any]]) -> None:
    planned = [{"file_name": file_name(scene), **metadata(scene)} for scene in gallery_scenes()]
    assert drawn == planned
    assert "three bananas on a blue background" in {row["caption"] for row in drawn}


def test_file_names_are_distinct_and_just_the_files_there(listed: list[dict[str, Any]]) -> None:
    names = [row["file_name"] for row in listed]
    files = [path for path in IMAGES.rglob("*") if path.is_file() and path.name != "metadata.jsonl"]
    assert len(set(names)) == len(names)
    assert set(names) == {path.relative_to(IMAGES).as_posix() for path in files}


def test_metadata_is_complete(listed: list[dict[str, Any]]) -> None:
    for row in listed:
        assert {"file_name", "caption", "kind", "object", "count", "background"} <= set(row)
        assert isinstance(row["count"], int)
        assert ("relation" in row) == ("other" in row) == (row["kind"] == "pair")
        assert ("position" in row) == (row["kind"] == "position")
        assert all(isinstance(value, str | int) for value in row.values())


def test_pictures_are_small_and_of_one_size(drawn: list[dict[str, Any]]) -> None:
    files = [IMAGES / row["file_name"] for row in drawn]
    assert 300 <= len(files) <= 450
    assert sum(path.stat().st_size for path in IMAGES.rglob("*.*")) <= 4 * MEGABYTE
    for path in files:
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("WEBP", (GALLERY_SIZE, GALLERY_SIZE))


def test_photographs_are_credited(listed: list[dict[str, Any]]) -> None:
    credits_page = (SAMPLES / "README.md").read_text(encoding="utf-8")
    rows = [row for row in listed if row["kind"] == "photograph"]
    assert len(rows) == len(PHOTOGRAPHS)
    for row, photograph in zip(rows, PHOTOGRAPHS, strict=True):
        assert row["background"] == "photograph"
        assert photograph.licence in credits_page
        assert photograph.author in credits_page
        with Image.open(IMAGES / row["file_name"]) as picture:
            assert max(picture.size) <= 640


def test_each_object_has_near_misses_beside_it(drawn: list[dict[str, Any]]) -> None:
    groups = [row["object"] for row in drawn if row["kind"] == "group"]
    names = [name.strip() for name in FAMILIAR.replace("\n", " ").split(",")]
    assert len(set(names) - set(groups)) <= 3
    assert sum(groups.count(name) >= 2 for name in names) > 0.85 * len(names)


def test_captions_are_distinct_and_carry_the_same_facts(drawn: list[dict[str, Any]]) -> None:
    captions = read_lines(SAMPLES / "captions.jsonl")
    assert len({row["text"] for row in captions}) == len(captions) == len(drawn)
    facts = [{key: value for key, value in row.items() if key != "file_name"} for row in drawn]
    assert [row["metadata"] for row in captions] == facts
