"""The folder of an embedded store: who owns it, and which model its vectors belong to.

lock              held by the owning process for as long as it has the store open; the kernel drops it with the process
collections.json  layout, dimension, fingerprint and settings, written whole before the first collection is made
statistics.json   how cosines are spread in these collections, where somebody has measured it
images/, texts/   the engine's files, renamed into place once the engine has written them
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from crossmodal.disk import require_room
from crossmodal.errors import ConfigurationError
from crossmodal.records import Modality, Statistics
from crossmodal.statistics import pack_statistics, unpack_statistics
from crossmodal.store.base import CollectionSpec
from crossmodal.store.fingerprint import note_of, require_layout, require_same, spec_of
from crossmodal.store.payload import LAYOUT

_STATISTICS = "statistics.json"
_ELSEWHERE = "index into another folder by setting CROSSMODAL_STORE or DATA"


class StoreFolder:
    """One folder and its lock. All its methods block, and raise ``ConfigurationError`` when the folder is not usable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    def acquire(self) -> None:
        """Make the folder if there is none and become its owner."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the store's folder cannot be made or written ({error.strerror}); check CROSSMODAL_STORE and DATA"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise ConfigurationError("the store's folder is on a file system without locks; use another") from error
            raise ConfigurationError(
                "another process owns this store; stop it, or give this one a folder of its own by setting "
                "CROSSMODAL_STORE or DATA, or let both use a Qdrant server"
            ) from error
        self._lock = lock

    def release(self) -> None:
        """Let another process own the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def require_room(self, least: int) -> None:
        """Raise ``StoreUnavailable`` unless ``least`` bytes are free on the folder's disk."""
        require_room(self._path, least)

    def require(self, spec: CollectionSpec) -> None:
        """Check that the collections belong to ``spec``, or note that they will. Raises ``FingerprintMismatch``."""
        note = self._path / "collections.json"
        if note.exists():
            require_same(_read_spec(note), spec, elsewhere=_ELSEWHERE)
        elif any(_is_filled(self.shard_path(modality)) for modality in Modality):
            raise ConfigurationError(
                f"the store holds collections but not the note of which model made them; restore collections.json, or {_ELSEWHERE}"
            )
        else:
            _write_whole(note, json.dumps({"version": LAYOUT, **note_of(spec)}))

    def read_statistics(self) -> Statistics:
        """What ``write_statistics`` wrote; empty if nothing was."""
        path = self._path / _STATISTICS
        if not path.exists():
            return {}
        try:
            members = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the store's {_STATISTICS} is unreadable; remove it and calibrate again"
            ) from error
        return unpack_statistics(members, where=f"the store's {_STATISTICS}")

    def write_statistics(self, statistics: Statistics) -> None:
        """Keep how cosines are spread in these collections."""
        _write_whole(self._path / _STATISTICS, json.dumps(pack_statistics(statistics), indent=2))

    def shard_path(self, modality: Modality) -> Path:
        """Where the engine keeps the collection of ``modality``."""
        return self._path / f"{modality}s"

    def make_shard(self, modality: Modality, create: Callable[[str], None]) -> None:
        """Let ``create`` write a collection, which appears whole or, after a crash, not at all."""
        final = self.shard_path(modality)
        if _is_filled(final):
            return
        fresh = final.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        create(str(fresh))
        fresh.rename(final)
        _sync(self._path)


def sync_files(folder: Path) -> None:
    """Return when what was written to the files in ``folder`` before is on the disk, though files come and go."""
    while True:
        before = sorted(folder.iterdir())
        try:
            for path in before:
                _sync(path)
        except FileNotFoundError:
            continue  # renamed meanwhile: what it holds is under a new name
        _sync(folder)
        if sorted(folder.iterdir()) == before:
            return


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _read_spec(note: Path) -> CollectionSpec:
    try:
        stored = json.loads(note.read_bytes())
        spec, layout = spec_of(stored), stored["version"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the note of which model made the collections, collections.json, is unreadable; restore it, or {_ELSEWHERE}"
        ) from error
    if spec is None:
        raise ConfigurationError(
            f"collections.json does not hold a dimension and a fingerprint; restore it, or {_ELSEWHERE}"
        )
    require_layout(layout, elsewhere=_ELSEWHERE)
    return spec


def _write_whole(path: Path, text: str) -> None:
    """Write so that a crash at any moment leaves the old file or the new one."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
