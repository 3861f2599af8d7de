from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.errors import ImageUndecodable, StoreUnavailable
from crossmodal.records import Modality, Partition
from crossmodal.search.indexing import Indexed, Status, Submission
from crossmodal.settings import Settings
from crossmodal.wiring import build_container
from indexer.pipeline import CHUNK, index_sources
from indexer.sources import Source, scan_pictures
from tests.fakes import ColourModel
from tests.pictures import encoded, solid


def sources(count: int) -> list[Source]:
    return [Source(f"s{number}", Submission(str(number).encode())) for number in range(count)]


async def test_all_sources_go_through_in_chunks() -> None:
    seen: list[int] = []

    async def index(submissions: Sequence[Submission]) -> list[Indexed]:
        seen.append(len(submissions))
        return [Indexed(each.content.decode(), Status.INDEXED) for each in submissions]

    outcomes = await index_sources(index, sources(2 * CHUNK + 5), unit="x", progress=False)
    assert sorted(seen) == [5, CHUNK, CHUNK]
    assert outcomes == {Status.INDEXED: 2 * CHUNK + 5}


async def test_failures_are_named_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    async def index(submissions: Sequence[Submission]) -> list[Indexed]:
        bad = Indexed(None, Status.FAILED, ImageUndecodable("no picture"))
        return [bad if each.content == b"1" else Indexed("i", Status.UNCHANGED) for each in submissions]

    outcomes = await index_sources(index, sources(3), unit="x", progress=False)
    assert outcomes == {Status.FAILED: 1, Status.UNCHANGED: 2}
    assert capsys.readouterr().err.strip() == "failed: s1: no picture"


async def test_a_lost_store_ends_the_run() -> None:
    async def index(_: Sequence[Submission]) -> list[Indexed]:
        raise StoreUnavailable("gone")

    with pytest.raises(ExceptionGroup) as caught:
        await index_sources(index, sources(3), unit="x", progress=False)
    assert caught.group_contains(StoreUnavailable, match="gone")


async def test_through_the_real_use_case_into_the_real_store(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "red.png").write_bytes(encoded(solid((255, 0, 0)), "PNG"))
    (folder / "copy of red.png").write_bytes(encoded(solid((255, 0, 0)), "PNG"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    settings = Settings(store=f"edge:{tmp_path / 'store'}", data=tmp_path)
    container = build_container(settings, LocalEncoder(ColourModel(), BatchLimits()))
    await container.open()
    index = partial(container.indexing.index_images, "acme")
    first = await index_sources(index, scan_pictures(folder), unit="x", progress=False)
    assert first == {Status.INDEXED: 1, Status.UNCHANGED: 1, Status.FAILED: 1}
    again = await index_sources(index, scan_pictures(folder), unit="x", progress=False)
    assert again == {Status.UNCHANGED: 2, Status.FAILED: 1}
    (item,) = (await container.store.scroll(Partition("acme", Modality.IMAGE), limit=9)).items
    assert item.metadata == {"path": "copy of red.png"}
    await container.close()
