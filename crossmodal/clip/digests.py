"""SHA-256 of files, which may be begun early, in a thread beside whatever else takes time at the start.

Hashing a gigabyte takes about a second of one core, in which Python's global lock is free.
"""

import threading
from concurrent.futures import Future
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

__all__ = ["begin", "begin_export", "digest"]

PIECE: Final = 2**25
"""Bytes between two turns of the global lock, for which a busy thread lets others wait 5 ms."""

_Identity = tuple[int, int, int, int]
_begun: dict[tuple[Path, _Identity], Future[str]] = {}


def begin(path: Path) -> None:
    """Let a thread hash ``path``, whose digest will be asked for; a file that cannot be read is left to who asks."""
    with suppress(OSError):
        key = (path, _identity(path))
        if key not in _begun:
            _begun[key] = Future()
            threading.Thread(target=_work, args=(path, _begun[key]), name="digest", daemon=True).start()


def begin_export(folder: Path, *, int8: bool) -> None:
    """Let threads hash the weights of the graphs that an export would be served with."""
    for path in folder.glob("openvino_*.bin"):
        if path.name.startswith("openvino_int8_") == int8:
            begin(path)


def digest(path: Path) -> str:
    """64 hex digits, of a thread that began with the file as it is now, else computed here. Raises OSError.

    What a thread found is kept: a model's weights are asked for by who checks the file and by who names the model.
    """
    key = (path, _identity(path))
    begun = _begun.get(key)
    if begun is not None:
        found = begun.result()
        if _identity(path) == key[1]:  # else it was written to while it was read
            return found
    return _digest(path)


def _identity(path: Path) -> _Identity:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _work(path: Path, result: Future[str]) -> None:
    try:
        result.set_result(_digest(path))
    except BaseException as error:  # noqa: BLE001 -- whatever it is, it belongs to who asks
        result.set_exception(error)


def _digest(path: Path) -> str:
    found, piece = sha256(), bytearray(min(PIECE, path.stat().st_size + 1))
    view = memoryview(piece)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            found.update(view[:count])
    return found.hexdigest()
