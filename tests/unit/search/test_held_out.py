"""The bundled model on the sample gallery, every scene of which is a combination that its training never held."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from crossmodal.search.classifying import Labelling
from crossmodal.search.seeing import PictureSource
from crossmodal.settings import Settings
from crossmodal.wiring import Container, build_container, build_local_encoder
from tools.servers import ROOT

GALLERY = ROOT / "samples" / "images"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def container(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Container]:
    settings = Settings(model="tiny", device="cpu", store="memory:", data=tmp_path_factory.mktemp("data"))
    container = build_container(settings, build_local_encoder(settings))
    await container.open()
    yield container
    await container.close()


def scenes(kind: str, count: int) -> list[dict[str, str]]:
    """The first of a kind, each with a caption of its own."""
    entries = [json.loads(line) for line in (GALLERY / "metadata.jsonl").read_text().splitlines()]
    first = {entry["caption"]: entry for entry in reversed(entries) if kind in {entry["kind"], "any"}}
    chosen = [first[caption] for caption in sorted(first)[:count]]
    assert len(chosen) == count
    return chosen


def picture_of(scene: dict[str, str]) -> PictureSource:
    return PictureSource(content=(GALLERY / scene["file_name"]).read_bytes())


@pytest.mark.asyncio(loop_scope="module")
async def test_it_picks_the_right_one_of_a_hundred_captions(container: Container) -> None:
    chosen = scenes("group", 100)
    labels = [scene["caption"] for scene in chosen]
    right = 0
    for scene in chosen[::4]:
        ranking = await container.classifying.classify("default", picture_of(scene), Labelling(labels))
        right += ranking.labels[0].label == scene["caption"]
    assert right >= 24


@pytest.mark.asyncio(loop_scope="module")
async def test_none_of_these_wins_where_the_object_is_not_among_the_labels(container: Container) -> None:
    chosen = scenes("group", 100)[::5]
    objects = sorted({scene["object"] for scene in chosen})
    right = absent = 0
    for scene in chosen:
        for labels in (objects, [each for each in objects if each != scene["object"]]):
            asked = Labelling(labels, none_of_these=True)
            ranking = await container.classifying.classify("default", picture_of(scene), asked)
            if scene["object"] in labels:
                right += ranking.labels[0].label == scene["object"]
            else:
                absent += ranking.labels[0].label is None
    assert right >= 14
    assert absent >= 18


@pytest.mark.asyncio(loop_scope="module")
async def test_tags_name_object_and_colour(container: Container) -> None:
    objects = colours = wrong = 0
    chosen = scenes("group", 100)[::4]
    for scene in chosen:
        description = await container.describing.describe("default", picture_of(scene), n_results=3)
        tags = {tag.tag for tag in description.tags}
        objects += scene["object"] in tags
        colours += scene["background"] in tags
        wrong += len(tags - {scene["object"], scene["background"]})
    assert objects >= 18
    assert colours >= 23
    assert wrong <= 10
