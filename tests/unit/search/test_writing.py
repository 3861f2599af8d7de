"""Points and files change together, whoever else writes or deletes at the same time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmodal.errors import NotFound
from crossmodal.media import MediaStore
from crossmodal.records import Modality, Partition, Point
from crossmodal.search.pictures import Picture
from crossmodal.search.writing import ItemWriter
from crossmodal.store.base import CollectionSpec
from crossmodal.store.exact import ExactStore
from tests.builders import item, unit

IMAGES = Partition("acme", Modality.IMAGE)
POINT = Point(item("a"), unit(1, 0, 0))
PICTURE = Picture(b"bytes", np.zeros((1, 1, 3), dtype=np.uint8), b"small")


class SlowStore(ExactStore):
    """Lets others run between its calls, as a real store does."""

    async def upsert(self, partition: Partition, points: object) -> None:
        await asyncio.sleep(0)
        await super().upsert(partition, points)  # type: ignore[arg-type]
        await asyncio.sleep(0)

    async def delete(self, partition: Partition, ids: object) -> None:
        await asyncio.sleep(0)
        await super().delete(partition, ids)  # type: ignore[arg-type]
        await asyncio.sleep(0)


@pytest.fixture
async def store() -> AsyncIterator[SlowStore]:
    store = SlowStore()
    await store.open(CollectionSpec(3, "model"))
    yield store
    await store.close()


@pytest.fixture
def media(tmp_path: Path) -> MediaStore:
    return MediaStore(str(tmp_path / "media"))


async def test_an_update_does_not_bring_back_what_was_deleted(store: SlowStore, media: MediaStore) -> None:
    writer = ItemWriter(store, media)
    await writer.write(IMAGES, [POINT], {POINT.item.content_hash: PICTURE})
    changed = Point(replace(POINT.item, metadata={"v": 2}), POINT.embedding)
    await writer.update(IMAGES, [changed])
    (found,) = await store.fetch(IMAGES, ["a"])
    assert found is not None
    assert found.item.metadata == {"v": 2}
    assert await writer.remove(IMAGES, "a")
    await writer.update(IMAGES, [changed])
    assert await store.fetch(IMAGES, ["a"]) == [None]
    assert not await writer.remove(IMAGES, "a")


async def test_an_update_leaves_other_content_alone(store: SlowStore, media: MediaStore) -> None:
    writer = ItemWriter(store, media)
    other = Point(replace(POINT.item, content_hash="f" * 64), POINT.embedding)
    await writer.write(IMAGES, [other], {})
    await writer.update(IMAGES, [POINT])
    (found,) = await store.fetch(IMAGES, ["a"])
    assert found is not None
    assert found.item.content_hash == "f" * 64


async def test_whatever_the_order_of_writing_and_deleting_an_item_has_its_file(
    store: SlowStore, media: MediaStore
) -> None:
    writer = ItemWriter(store, media)
    changed = Point(replace(POINT.item, metadata={"v": 2}), POINT.embedding)
    for turn in range(60):
        jobs = [
            writer.write(IMAGES, [POINT], {POINT.item.content_hash: PICTURE}),
            writer.remove(IMAGES, "a"),
            writer.update(IMAGES, [changed]),
        ]
        await asyncio.gather(*(jobs[(turn + step) % 3] for step in range(3)))
        (found,) = await store.fetch(IMAGES, ["a"])
        if found is None:
            with pytest.raises(NotFound):
                await media.original("acme", POINT.item.content_hash)
        else:
            assert await media.original("acme", POINT.item.content_hash) == b"bytes"
            assert await media.thumbnail("acme", POINT.item.content_hash) == b"small"
