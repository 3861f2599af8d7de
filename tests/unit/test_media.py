"""The media store on a real folder, on fsspec's memory, and on storage that fails."""

import asyncio
import errno
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import fsspec
import pytest
import pytest_asyncio
from fsspec.implementations.memory import MemoryFileSystem

from crossmodal.errors import ConfigurationError, NotFound, StoreUnavailable, ValidationFailed
from crossmodal.media import MediaStore
from crossmodal.records import hash_content

ORIGINAL = b"the bytes as they came"
THUMBNAIL = b"small"
ACME = "acme"
KEY = hash_content(ORIGINAL)
OTHER = hash_content(b"something else")


@pytest_asyncio.fixture(params=["folder", "memory"], loop_scope="function")
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MediaStore]:
    url = str(tmp_path / "media") if request.param == "folder" else f"memory://{tmp_path.name}"
    media = MediaStore(url, threads=2)
    yield media
    media.close()


def place(root: Path, kind: str, key: str = KEY) -> Path:
    return root / ACME / kind / key[:2] / key[2:4] / key


def files_below(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


async def test_round_trip(store: MediaStore) -> None:
    assert not await store.exists(ACME, KEY)
    await store.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert await store.exists(ACME, KEY)
    assert await store.original(ACME, KEY) == ORIGINAL
    assert await store.thumbnail(ACME, KEY) == THUMBNAIL


async def test_keys_are_apart(store: MediaStore) -> None:
    await store.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    await store.put(ACME, OTHER, b"other", b"o")
    assert await store.original(ACME, KEY) == ORIGINAL
    assert await store.original(ACME, OTHER) == b"other"
    await store.delete(ACME, OTHER)
    assert await store.exists(ACME, KEY)
    assert not await store.exists(ACME, OTHER)


async def test_missing_is_not_found(store: MediaStore) -> None:
    with pytest.raises(NotFound):
        await store.original(ACME, KEY)
    with pytest.raises(NotFound):
        await store.thumbnail(ACME, KEY)


async def test_deleted_is_gone_and_may_be_deleted_again(store: MediaStore) -> None:
    await store.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    await store.delete(ACME, KEY)
    await store.delete(ACME, KEY)
    assert not await store.exists(ACME, KEY)
    for read in (store.original, store.thumbnail):
        with pytest.raises(NotFound):
            await read(ACME, KEY)
    await store.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert await store.original(ACME, KEY) == ORIGINAL


async def test_putting_again_changes_nothing(store: MediaStore) -> None:
    await store.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    await store.put(ACME, KEY, ORIGINAL[::-1], THUMBNAIL[::-1])  # the same size: taken for the same bytes, not written
    assert await store.original(ACME, KEY) == ORIGINAL
    assert await store.thumbnail(ACME, KEY) == THUMBNAIL


async def test_what_has_another_size_is_mended(store: MediaStore) -> None:
    await store.put(ACME, KEY, b"cut", b"")
    await store.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert await store.original(ACME, KEY) == ORIGINAL
    assert await store.thumbnail(ACME, KEY) == THUMBNAIL


async def test_the_same_picture_from_many_at_once(store: MediaStore) -> None:
    await asyncio.gather(*(store.put(ACME, KEY, ORIGINAL, THUMBNAIL) for _ in range(20)))
    assert await store.original(ACME, KEY) == ORIGINAL


@pytest.mark.parametrize(
    "key", ["", "../../../etc/passwd", KEY[:-1], KEY + "0", KEY.upper(), KEY[:-1] + "g", KEY + "\n", "/" + KEY[1:]]
)
async def test_only_content_hashes_are_keys(store: MediaStore, key: str) -> None:
    for call in (
        store.original(ACME, key),
        store.thumbnail(ACME, key),
        store.exists(ACME, key),
        store.delete(ACME, key),
        store.put(ACME, key, b"", b""),
    ):
        with pytest.raises(ValidationFailed, match="64 lower-case"):
            await call


async def test_tenants_are_apart(store: MediaStore) -> None:
    await store.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert not await store.exists("globex", KEY)
    with pytest.raises(NotFound):
        await store.original("globex", KEY)
    await store.put("globex", KEY, ORIGINAL, THUMBNAIL)
    await store.delete(ACME, KEY)
    assert not await store.exists(ACME, KEY)
    assert await store.original("globex", KEY) == ORIGINAL
    assert await store.thumbnail("globex", KEY) == THUMBNAIL


async def test_a_removed_tenant_may_come_back(tmp_path: Path) -> None:
    media = MediaStore(str(tmp_path))
    for tenant in (ACME, "globex"):
        await media.put(tenant, KEY, ORIGINAL, THUMBNAIL)
    shutil.rmtree(tmp_path / ACME)
    assert not await media.exists(ACME, KEY)
    assert await media.original("globex", KEY) == ORIGINAL
    await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert await media.original(ACME, KEY) == ORIGINAL
    media.close()


@pytest.mark.parametrize(
    "tenant",
    ["", ".", "..", "../acme", "a/b", "/etc", ".incoming", "Acme", "-a", "_a", "a\n", "a b", "a\x00", "é", "a" * 65],
)
async def test_only_names_of_tenants_are_folders(store: MediaStore, tenant: str) -> None:
    for call in (
        store.original(tenant, KEY),
        store.thumbnail(tenant, KEY),
        store.exists(tenant, KEY),
        store.delete(tenant, KEY),
        store.put(tenant, KEY, b"", b""),
    ):
        with pytest.raises(ValueError, match="a tenant's name is"):
            await call


@pytest.mark.parametrize("tenant", ["a", "0", "a-b_c", "incoming", "original", "a" * 64])
async def test_tenants_may_be_called(store: MediaStore, tenant: str) -> None:
    await store.put(tenant, KEY, ORIGINAL, THUMBNAIL)
    assert await store.original(tenant, KEY) == ORIGINAL


async def test_places_on_a_folder(tmp_path: Path) -> None:
    media = MediaStore(f"file://{tmp_path}")
    await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    media.close()
    assert files_below(tmp_path) == {place(tmp_path, "original"), place(tmp_path, "thumbnail")}
    assert place(tmp_path, "original").read_bytes() == ORIGINAL
    assert place(tmp_path, "thumbnail").read_bytes() == THUMBNAIL


async def test_places_in_an_object_store() -> None:
    media = MediaStore("memory://bucket/prefix/")
    await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    media.close()
    assert fsspec.filesystem("memory").cat_file(f"/bucket/prefix/acme/original/{KEY[:2]}/{KEY[2:4]}/{KEY}") == ORIGINAL


async def test_another_store_of_the_same_folder_sees_it(tmp_path: Path) -> None:
    first, second = MediaStore(str(tmp_path)), MediaStore(str(tmp_path))
    await first.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert await second.original(ACME, KEY) == ORIGINAL
    first.close()
    second.close()


async def test_every_new_name_is_flushed_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    flush = os.fsync

    def noting(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        flush(descriptor)

    media = MediaStore(str(tmp_path))
    monkeypatch.setattr(os, "fsync", noting)
    await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    for kind in ("original", "thumbnail"):
        folder = place(tmp_path, kind).parent
        assert {folder, *folder.parents[:4]} <= set(flushed)
    written = [path for path in flushed if path.parent == tmp_path / ".incoming"]
    assert len(written) == 2
    assert flushed.index(written[0]) < flushed.index(place(tmp_path, "thumbnail").parent)
    flushed.clear()
    await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert flushed == [place(tmp_path, "thumbnail").parent, place(tmp_path, "original").parent]
    flushed.clear()
    await media.delete(ACME, KEY)
    assert flushed == [place(tmp_path, "original").parent, place(tmp_path, "thumbnail").parent]
    media.close()


async def test_an_acknowledged_write_survives_a_kill(tmp_path: Path) -> None:
    script = """
        import asyncio, sys
        from crossmodal.media import MediaStore
        from crossmodal.records import hash_content

        async def main():
            media = MediaStore(sys.argv[1])
            for number in range(10_000):
                content = str(number).encode() * 2000
                await media.put("acme", hash_content(content), content, b"small")
                print(number, flush=True)

        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(script), str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [int(await process.stdout.readline()) for _ in range(25)]
    process.kill()
    await process.communicate()
    media = MediaStore(str(tmp_path))
    for number in acknowledged:
        content = str(number).encode() * 2000
        assert await media.original(ACME, hash_content(content)) == content
    media.close()
    # Whatever was killed in the middle, no name holds half a file.
    for path in files_below(tmp_path / ACME / "original"):
        assert hash_content(path.read_bytes()) == path.name


def test_left_overs_of_killed_writers_are_swept(tmp_path: Path) -> None:
    incoming = tmp_path / ".incoming"
    incoming.mkdir()
    (incoming / "old").write_bytes(b"half")
    (incoming / "new").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    os.utime(incoming / "old", (yesterday, yesterday))
    MediaStore(str(tmp_path)).close()
    assert [path.name for path in incoming.iterdir()] == ["new"]


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    media = MediaStore(str(tmp_path))
    await media.put(ACME, OTHER, b"other", b"o")  # its folders are there
    with monkeypatch.context() as patched:
        patched.setattr(failing, full)
        with pytest.raises(StoreUnavailable, match="cannot be written: No space left on device") as caught:
            await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert isinstance(caught.value.__cause__, OSError)
    assert str(tmp_path) not in caught.value.detail
    assert list((tmp_path / ".incoming").iterdir()) == []
    assert not await media.exists(ACME, KEY)
    await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    assert await media.original(ACME, KEY) == ORIGINAL
    media.close()


async def test_a_folder_that_vanished_is_unavailable(tmp_path: Path) -> None:
    media = MediaStore(str(tmp_path / "media"))
    (tmp_path / "media" / ".incoming").rmdir()
    (tmp_path / "media").rmdir()
    with pytest.raises(StoreUnavailable, match="cannot be written: No such file"):
        await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    media.close()


async def test_a_place_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    media = MediaStore(str(tmp_path))
    place(tmp_path, "original").mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match="cannot be read: Is a directory") as caught:
        await media.original(ACME, KEY)
    assert str(tmp_path) not in caught.value.detail
    with pytest.raises(StoreUnavailable, match="cannot be deleted"):
        await media.delete(ACME, KEY)
    media.close()


async def test_an_object_store_that_fails_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise RuntimeError("https://key:secret@bucket says no")

    media = MediaStore("memory://down")
    for name in ("info", "pipe_file", "cat_file", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, name, down)
    calls = {
        "written": media.put(ACME, KEY, ORIGINAL, THUMBNAIL),
        "read": media.original(ACME, KEY),
        "looked up": media.exists(ACME, KEY),
        "deleted": media.delete(ACME, KEY),
    }
    for done, call in calls.items():
        with pytest.raises(StoreUnavailable) as caught:
            await call
        assert caught.value.detail == f"The picture cannot be {done}: the storage does not answer."
        assert isinstance(caught.value.__cause__, RuntimeError)
    media.close()


def test_a_folder_that_cannot_be_made_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot be made or written: Not a directory"):
        MediaStore(str(tmp_path / "file" / "media"))


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/prefix", "s3fs"), ("gs://bucket", "gcsfs")])
def test_a_protocol_without_its_package_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=package):
        MediaStore(url)


def test_an_unknown_protocol_is_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="a local path, file://, s3://, gs:// or memory://"):
        MediaStore("nowhere://x")


async def test_threads_are_bounded_and_the_loop_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock = threading.Lock()
    read = Path.read_bytes

    def slow(path: Path) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return read(path)

    media = MediaStore(str(tmp_path), threads=3)
    await media.put(ACME, KEY, ORIGINAL, THUMBNAIL)
    monkeypatch.setattr(Path, "read_bytes", slow)
    reading = asyncio.gather(*(media.original(ACME, KEY) for _ in range(12)))
    ticks = 0
    while not reading.done():
        await asyncio.sleep(0.001)
        ticks += 1
    assert await reading == [ORIGINAL] * 12
    assert most == 3
    assert ticks > 10
    media.close()
