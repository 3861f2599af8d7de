"""Where pictures live: originals and thumbnails by tenant and the hash of their content, in a folder or an object store.

A tenant's pictures are in a folder of its name, and nowhere else: removing that folder removes them all.

On a local folder a write is on the disk when it is acknowledged: written beside its place, flushed, renamed, and the
folder flushed. An object store does the same by its own contract.
"""

import asyncio
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from crossmodal.errors import ConfigurationError, CrossModalError, NotFound, StoreUnavailable, ValidationFailed
from crossmodal.records import is_tenant_name

_T = TypeVar("_T")

_HASH = re.compile(r"[0-9a-f]{64}")
_ORIGINAL = "original"
_THUMBNAIL = "thumbnail"
_INCOMING = ".incoming"  # no tenant is called so
_STALE_SECONDS = 24 * 3600.0


class _Blobs(Protocol):
    """Bytes by key, a relative path of safe parts; ``read`` and ``delete`` raise FileNotFoundError for what is not there.

    ``size`` is in bytes, None for what is not there; ``write`` leaves alone what is there with the same size.
    """

    def size(self, key: str) -> int | None: ...
    def read(self, key: str) -> bytes: ...
    def write(self, key: str, content: bytes) -> None: ...
    def delete(self, key: str) -> None: ...


class MediaStore:
    """Pictures by tenant and content hash (64 lower-case hex digits); the same bytes in two tenants are kept twice.

    ``url`` is a local path, ``file://``, ``s3://``, ``gs://`` or ``memory://``. Every method runs in a pool of
    ``threads`` threads and raises ValidationFailed for what is no content hash, ValueError for what is no tenant's name
    and StoreUnavailable when the storage fails. Construction raises ConfigurationError when the folder cannot be made
    or written, or the package of the protocol is missing.
    """

    def __init__(self, url: str, *, threads: int = 8) -> None:
        self._blobs = _open(url)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="media")

    async def put(self, tenant: str, content_hash: str, original: bytes, thumbnail: bytes) -> None:
        """Keep a picture and its thumbnail; what is there already with the same size is not written again."""
        await self._run(self._put, tenant, content_hash, original, thumbnail)

    async def original(self, tenant: str, content_hash: str) -> bytes:
        """Read the picture as it came; NotFound if it is not kept."""
        return await self._run(self._read, tenant, _ORIGINAL, content_hash)

    async def thumbnail(self, tenant: str, content_hash: str) -> bytes:
        """Read the thumbnail; NotFound if it is not kept."""
        return await self._run(self._read, tenant, _THUMBNAIL, content_hash)

    async def exists(self, tenant: str, content_hash: str) -> bool:
        """Tell whether the picture and its thumbnail are kept."""
        return await self._run(self._exists, tenant, content_hash)

    async def delete(self, tenant: str, content_hash: str) -> None:
        """Forget the picture and its thumbnail; nothing happens where there is none."""
        await self._run(self._delete, tenant, content_hash)

    def close(self) -> None:
        """Wait for running work and end the threads."""
        self._pool.shutdown(wait=True)

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    # The thumbnail is written first and deleted last, so an original that is there has its thumbnail.

    def _put(self, tenant: str, content_hash: str, original: bytes, thumbnail: bytes) -> None:
        self._write(_key(tenant, _THUMBNAIL, content_hash), thumbnail)
        self._write(_key(tenant, _ORIGINAL, content_hash), original)

    def _write(self, key: str, content: bytes) -> None:
        with _storage_errors("written"):
            self._blobs.write(key, content)

    def _read(self, tenant: str, kind: str, content_hash: str) -> bytes:
        key = _key(tenant, kind, content_hash)
        with _storage_errors("read"):
            try:
                return self._blobs.read(key)
            except FileNotFoundError as error:
                raise NotFound("There is no picture of that content.") from error

    def _exists(self, tenant: str, content_hash: str) -> bool:
        key = _key(tenant, _ORIGINAL, content_hash)
        with _storage_errors("looked up"):
            return self._blobs.size(key) is not None

    def _delete(self, tenant: str, content_hash: str) -> None:
        for key in (_key(tenant, _ORIGINAL, content_hash), _key(tenant, _THUMBNAIL, content_hash)):
            with _storage_errors("deleted"), suppress(FileNotFoundError):  # the inner one acts first
                self._blobs.delete(key)


class _LocalBlobs:
    """A folder of this machine: every write is atomic, and on the disk when it returns."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / _INCOMING
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._check_writable()
        self._sweep()

    def size(self, key: str) -> int | None:
        try:
            return (self._root / key).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def write(self, key: str, content: bytes) -> None:
        path = self._root / key
        if self.size(key) != len(content):
            self._make_folders(path.parent)
            temporary = self._incoming / uuid.uuid4().hex
            try:
                _write_through(temporary, content)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        # Also where the file was there: another writer may have renamed it, and not yet flushed the folder.
        _flush_folder(path.parent)

    def delete(self, key: str) -> None:
        path = self._root / key
        path.unlink()
        _flush_folder(path.parent)

    def _make_folders(self, folder: Path) -> None:
        """Make ``folder`` below the root; each new name is flushed with the folder that holds it."""
        if folder == self._root or folder.is_dir():
            return
        self._make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)

    def _check_writable(self) -> None:
        probe = self._incoming / uuid.uuid4().hex
        probe.write_bytes(b"")
        probe.unlink()

    def _sweep(self) -> None:
        """Remove what writers that were killed left half done; a day old, so that no running writer is meant."""
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):  # another process sweeps too
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()


class _ObjectBlobs:
    """An object store behind fsspec: one call writes one object, whole or not at all."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def size(self, key: str) -> int | None:
        try:
            return int(self._filesystem.info(self._path(key))["size"])
        except FileNotFoundError:
            return None

    def read(self, key: str) -> bytes:
        return bytes(self._filesystem.cat_file(self._path(key)))

    def write(self, key: str, content: bytes) -> None:
        if self.size(key) != len(content):
            self._filesystem.pipe_file(self._path(key), content)

    def delete(self, key: str) -> None:
        self._filesystem.rm_file(self._path(key))

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


def _open(url: str) -> _Blobs:
    try:
        filesystem, root = url_to_fs(url)
    except ImportError as error:
        raise ConfigurationError(f"Media cannot be kept there: {error}.") from error
    except ValueError as error:
        raise ConfigurationError("Media are kept at a local path, file://, s3://, gs:// or memory://.") from error
    if not isinstance(filesystem, LocalFileSystem):
        return _ObjectBlobs(filesystem, root)
    try:
        return _LocalBlobs(Path(root))
    except OSError as error:
        raise ConfigurationError(
            f"The folder of media, {root}, cannot be made or written: {error.strerror}."
        ) from error


def _key(tenant: str, kind: str, content_hash: str) -> str:
    """Name the place of a blob: below the tenant's folder two levels more, so that none holds millions of names."""
    if not is_tenant_name(tenant):
        raise ValueError("a tenant's name is 1 to 64 of a-z, 0-9, _ and -, and begins with a letter or a digit")
    if not _HASH.fullmatch(content_hash):
        raise ValidationFailed("A content hash is 64 lower-case hexadecimal digits.")
    return f"{tenant}/{kind}/{content_hash[:2]}/{content_hash[2:4]}/{content_hash}"


@contextmanager
def _storage_errors(done: str) -> Iterator[None]:
    """Map what a storage raises: each object store brings exceptions of its own, so the list is open."""
    try:
        yield
    except CrossModalError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the storage does not answer"
        raise StoreUnavailable(f"The picture cannot be {done}: {reason}.") from error


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
