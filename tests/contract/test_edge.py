"""What the embedded store promises beyond the port: files that outlive the process, and one owner."""

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from crossmodal.errors import ConfigurationError, FingerprintMismatch, StoreUnavailable
from crossmodal.records import DEFAULT_TENANT, Modality, Partition
from crossmodal.store.base import CollectionSpec
from crossmodal.store.edge import PIECE, EdgeStore
from crossmodal.store.edge_folder import sync_files
from crossmodal.store.edge_shard import FLUSH_EVERY, in_engine
from crossmodal.store.filters import Equals, Range
from tests.contract.material import IMAGES, SETTINGS, SPEC, STATISTICS, TEXTS, all_ids, axis, point, points

ROOT = Path(__file__).parents[2]


async def opened(folder: Path, spec: CollectionSpec = SPEC) -> EdgeStore:
    store = EdgeStore(folder)
    await store.open(spec)
    return store


def start_owner(folder: Path) -> subprocess.Popen[str]:
    """A process that owns ``folder`` and writes to it until it is killed."""
    script = ["-m", "tests.contract.owner", str(folder)]
    return subprocess.Popen([sys.executable, *script], cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def test_everything_is_there_after_closing_and_opening(folder: Path) -> None:
    store = await opened(folder)
    held = points(PIECE + 20)
    await store.upsert(IMAGES, held)
    await store.upsert(TEXTS, [point("words", axis(0), {"n": 0.1}, modality=Modality.TEXT, text="é")])
    await store.delete(IMAGES, [held[0].item.id])
    order = await all_ids(store)
    await store.close()

    store = await opened(folder)
    assert await all_ids(store) == order
    found = await store.fetch(IMAGES, [entry.item.id for entry in held], with_embeddings=True)
    assert found[0] is None
    for got, expected in zip(found[1:], held[1:], strict=True):
        assert got is not None
        assert got.item == expected.item
        np.testing.assert_allclose(got.embedding, expected.embedding, atol=1e-6)
    assert await store.count(IMAGES, where=Range("number", lt=10)) == 9
    assert await store.count(TEXTS, where=Equals("n", 0.1)) == 1
    await store.close()


async def test_statistics_are_there_after_closing_and_opening(folder: Path) -> None:
    store = await opened(folder)
    await store.keep_statistics(STATISTICS)
    await store.close()
    store = await opened(folder)
    assert store.statistics == STATISTICS
    await store.close()
    for damage in ("{", "[]", '{"text-sound": {}}', '{"text-image": {"midpoint": 0.1}}'):
        (folder / "statistics.json").write_text(damage)
        with pytest.raises(ConfigurationError, match=r"statistics\.json"):
            await opened(folder)


async def test_a_killed_process_loses_nothing_it_acknowledged(folder: Path) -> None:
    owner = start_owner(folder)
    assert owner.stdout is not None
    acknowledged = [owner.stdout.readline().strip() for _ in range(25)]
    owner.kill()
    acknowledged += owner.stdout.read().split()
    owner.stdout.close()
    assert owner.wait() == -signal.SIGKILL
    store = await opened(folder)
    assert set(acknowledged) <= set(await all_ids(store))
    assert len(acknowledged) >= 25
    [best] = await store.search(IMAGES, points(25)[24].embedding, limit=1)
    assert best.item == points(25)[24].item
    await store.close()


async def test_the_log_alone_brings_back_what_was_acknowledged(folder: Path) -> None:
    """A power cut keeps what was synced: of the engine's files the state of its last flush, of its log everything."""
    store = await opened(folder)
    await store.upsert(IMAGES, points(50))
    await store.close()
    cut = folder.with_name("after-the-cut")
    shutil.copytree(folder, cut)
    store = await opened(folder)
    await store.upsert(IMAGES, points(80))
    await store.delete(IMAGES, ["item-0003"])
    shutil.rmtree(cut / "images" / "wal")
    shutil.copytree(folder / "images" / "wal", cut / "images" / "wal")
    after = await opened(cut)
    assert await after.count(IMAGES) == 79
    assert await after.count(IMAGES, where=Equals("number", 3)) == 0
    assert await after.count(IMAGES, where=Range("number", gte=50)) == 30
    await after.close()
    await store.close()


async def test_a_long_upload_passes_from_the_log_into_the_files(folder: Path) -> None:
    store = await opened(folder)
    held = points(FLUSH_EVERY + PIECE)
    await store.upsert(IMAGES, held)
    assert await store.count(IMAGES) == len(held)
    await store.close()
    store = await opened(folder)
    assert await store.count(IMAGES) == len(held)
    await store.close()


def test_files_that_come_and_go_are_synced(folder: Path) -> None:
    folder.mkdir()
    stop = threading.Event()

    def churn() -> None:
        for turn in itertools.count():
            (folder / f"open-{turn}").write_bytes(b"x")
            (folder / f"open-{turn}").rename(folder / f"closed-{turn % 5}")
            if stop.is_set():
                return

    thread = threading.Thread(target=churn)
    thread.start()
    threading.Timer(0.1, stop.set).start()
    sync_files(folder)
    thread.join()
    assert len(list(folder.iterdir())) <= 5


async def test_a_second_process_is_refused_and_the_first_goes_on(folder: Path) -> None:
    owner = start_owner(folder)
    assert owner.stdout is not None
    owner.stdout.readline()
    with pytest.raises(ConfigurationError, match="another process owns this store; stop it, or") as refused:
        await opened(folder)
    assert str(folder) not in refused.value.detail
    assert owner.stdout.readline().startswith("item-")
    owner.kill()
    owner.stdout.close()
    owner.wait()
    await (await opened(folder)).close()  # the lock went with its owner


async def test_a_second_store_in_this_process_is_refused(folder: Path) -> None:
    store = await opened(folder)
    with pytest.raises(ConfigurationError, match="another process owns this store"):
        await opened(folder)
    await store.ping()
    await store.close()
    await (await opened(folder)).close()


async def test_another_model_is_refused_and_the_folder_freed(folder: Path) -> None:
    await (await opened(folder)).close()
    with pytest.raises(FingerprintMismatch) as refused:
        await opened(folder, CollectionSpec(16, "other-model:4567", SETTINGS | {"PRECISION": "int8"}))
    assert refused.value.detail == (
        "the collections were made by the model tiny-model:0123 of 8 dimensions, and the model loaded is "
        "other-model:4567 of 16; start with the old model (PRECISION=auto instead of int8), or index into another folder by "
        "setting CROSSMODAL_STORE or DATA"
    )
    await (await opened(folder)).close()


async def test_the_note_of_the_model_is_plain_json(folder: Path) -> None:
    await (await opened(folder)).close()
    note = json.loads((folder / "collections.json").read_text(encoding="utf-8"))
    assert note == {"version": 2, "dim": 8, "fingerprint": "tiny-model:0123", "settings": SETTINGS}


@pytest.mark.parametrize("settings", [{}, {"settings": ["fast"]}, {"settings": {"MODEL": 1}}])
async def test_a_note_without_settings_is_one_of_the_same_model(folder: Path, settings: dict[str, object]) -> None:
    await (await opened(folder)).close()
    note = {"version": 2, "dim": SPEC.dim, "fingerprint": SPEC.fingerprint} | settings
    (folder / "collections.json").write_text(json.dumps(note), encoding="utf-8")
    await (await opened(folder)).close()
    with pytest.raises(FingerprintMismatch) as refused:
        await opened(folder, CollectionSpec(SPEC.dim, "other-model:4567", SETTINGS))
    said = "start with the old model (its settings are not noted; it depends on MODEL, PREPROCESSING, PRECISION), or "
    assert said in refused.value.detail


@pytest.mark.parametrize("version", [1, 3, "2", None])
async def test_collections_of_another_layout_are_refused(folder: Path, version: object) -> None:
    await (await opened(folder)).close()
    note = {"version": version, "dim": SPEC.dim, "fingerprint": SPEC.fingerprint}
    (folder / "collections.json").write_text(json.dumps(note), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="none of their items would be found; index into another folder"):
        await opened(folder)


async def test_tenants_are_apart_after_closing_and_opening(folder: Path) -> None:
    store = await opened(folder)
    for tenant in ("acme", "globex"):
        await store.upsert(Partition(tenant, Modality.IMAGE), [point("same", axis(0), {"of": tenant})])
    await store.close()
    store = await opened(folder)
    await store.delete(Partition("acme", Modality.IMAGE), ["same"])
    assert await store.count(Partition("acme", Modality.IMAGE)) == 0
    [kept] = (await store.scroll(Partition("globex", Modality.IMAGE), limit=9)).items
    assert kept.metadata == {"of": "globex"}
    await store.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"dim": "8", "fingerprint": "x"}', b"null"])
async def test_an_unreadable_note_is_refused(folder: Path, content: bytes) -> None:
    await (await opened(folder)).close()
    (folder / "collections.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"collections\.json"):
        await opened(folder)


async def test_collections_without_a_note_are_refused(folder: Path) -> None:
    await (await opened(folder)).close()
    (folder / "collections.json").unlink()
    with pytest.raises(ConfigurationError, match="not the note of which model"):
        await opened(folder)
    assert not (folder / "collections.json").exists()


def leave(folder: Path, left: str) -> None:
    """Bring ``folder`` to the state that a crash at one moment leaves."""
    match left:
        case "folder":
            folder.mkdir()
        case "empty collection":
            (folder / "images").mkdir(parents=True)
        case "note":
            for name in ("images", "texts"):
                (folder / name).rename(folder.with_name(f"{name}-away"))
        case "half a note":
            folder.mkdir()
            (folder / "collections.new").write_text('{"dim": ', encoding="utf-8")
        case "half a collection":
            (folder / "texts").rename(folder / "texts.new")
            (folder / "texts.new" / "edge_config.json").unlink()


@pytest.mark.parametrize("left", ["folder", "empty collection", "note", "half a note", "half a collection"])
async def test_a_crash_while_the_store_is_made_leaves_it_openable(folder: Path, left: str) -> None:
    if left in {"note", "half a collection"}:
        await (await opened(folder)).close()
    leave(folder, left)
    store = await opened(folder)
    for modality in Modality:
        partition = Partition(DEFAULT_TENANT, modality)
        await store.upsert(partition, [point("one", axis(0), modality=modality)])
        assert await store.count(partition) == 1
    await store.close()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be made or written") as refused:
        await opened(tmp_path / "file")
    assert str(tmp_path) not in refused.value.detail


async def test_damaged_files_are_refused_without_a_path(folder: Path) -> None:
    await (await opened(folder)).close()
    (folder / "images" / "edge_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="engine failed") as refused:
        await opened(folder)
    assert str(folder) not in refused.value.detail
    assert isinstance(refused.value.__cause__, Exception)


def fork_and_count(store: EdgeStore) -> int:
    """Exit status of a forked child that uses ``store``: 0 if it was refused as it should be."""
    child = os.fork()
    if child == 0:
        try:
            store.count(IMAGES).send(None)
        except ConfigurationError as refused:
            os._exit(0 if "before a fork" in refused.detail else 2)
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def test_use_after_fork_is_refused_at_once(folder: Path) -> None:
    store = await opened(folder)
    assert fork_and_count(store) == 0
    await store.ping()
    await store.close()


async def test_a_search_waits_for_a_piece_of_a_write_and_not_for_all(folder: Path) -> None:
    store = await opened(folder)
    await store.upsert(IMAGES, points(10))
    upload = asyncio.create_task(store.upsert(IMAGES, points(PIECE * 8, prefix="bulk")))
    await asyncio.sleep(0)
    seen = len(await store.search(IMAGES, axis(0), limit=1000))
    assert not upload.done()
    assert seen < PIECE * 8
    await upload
    assert await store.count(IMAGES) == PIECE * 8 + 10
    await store.close()


async def test_the_loop_goes_on_while_the_engine_works(folder: Path) -> None:
    store = await opened(folder)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    heart = asyncio.create_task(beat())
    await store.upsert(IMAGES, points(PIECE * 4))
    heart.cancel()
    assert beats > 4
    assert {thread.name for thread in threading.enumerate() if thread.name.startswith("edge-")} == {
        "edge-store_0",
        "edge-sync_0",
    }
    await store.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-")]


async def test_a_cancelled_caller_leaves_the_store_usable(folder: Path) -> None:
    store = await opened(folder)
    upload = asyncio.create_task(store.upsert(IMAGES, points(PIECE * 4)))
    await asyncio.sleep(0)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await store.upsert(IMAGES, points(5, prefix="later"))
    assert await store.count(IMAGES) >= 5
    await store.close()


async def test_the_engine_still_matches_true_as_one(folder: Path) -> None:
    """The reason for terms; when this fails the engine compares bools, and the docstring of ``payload`` is out of date."""
    store = await opened(folder)
    await store.close()
    shard = qdrant_edge.EdgeShard.load(str(folder / "images"))
    payloads: list[dict[str, object]] = [{"v": True}, {"v": 1}]
    ids = ["00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"]
    entries = [qdrant_edge.Point(key, axis(0).tolist(), values) for key, values in zip(ids, payloads, strict=True)]
    shard.update(qdrant_edge.UpdateOperation.upsert_points(entries))
    is_true = qdrant_edge.FieldCondition(key="v", match=qdrant_edge.MatchValue(value=True))
    found, _ = shard.scroll(qdrant_edge.ScrollRequest(limit=5, filter=qdrant_edge.Filter(must=[is_true])))
    shard.close()
    assert [str(record.id) for record in found] == [ids[1]]


async def test_opening_gives_back_the_room_of_deleted_items(folder: Path) -> None:
    store = await opened(folder)
    held = points(2000)
    await store.upsert(IMAGES, held)
    await store.delete(IMAGES, [entry.item.id for entry in held[100:]])
    await store.close()
    store = await opened(folder)
    assert sorted(await all_ids(store)) == [entry.item.id for entry in held[:100]]
    await store.close()
    shard = qdrant_edge.EdgeShard.load(str(folder / "images"))
    assert shard.optimize() is False  # nothing is left to do
    shard.close()


def test_engine_faults_are_mapped_without_their_text() -> None:
    class PanicException(BaseException):  # the name the engine's bindings give it
        pass

    for fault in (Exception("/secret/path"), PanicException("/secret/path"), ValueError("/secret/path")):
        with pytest.raises(StoreUnavailable) as unavailable, in_engine():
            raise fault
        assert unavailable.value.__cause__ is fault
        assert "secret" not in unavailable.value.detail
    with pytest.raises(KeyboardInterrupt), in_engine():
        raise KeyboardInterrupt
    with pytest.raises(ConfigurationError, match="as it is"), in_engine():
        raise ConfigurationError("as it is")
