"""The keys that are valid now: the keys file, read at start and read again when it changes."""

import os
import stat
import threading
from pathlib import Path

import structlog

from crossmodal.api.keys import Key, parse_keys
from crossmodal.errors import ConfigurationError

LOOK_SECONDS = 2.0
"""So often the file is looked at, and so late a revoked key may still work."""

_MAX_BYTES = 1024 * 1024
_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP

_Mark = tuple[int, int, int, int]
"""What tells versions of a file apart: inode, size, and when its content and its state changed."""

log = structlog.get_logger()


class KeyRing:
    """The keys of a file. ``watch`` follows its changes in a thread of its own, ``close`` ends that.

    A new version that cannot be read, or is not valid, changes nothing and is told in the log. An empty list is valid
    then, and leaves no key; at start it is refused, because nobody could use the service.
    """

    def __init__(self, path: Path, *, look_seconds: float = LOOK_SECONDS) -> None:
        """Read the file. Raises ``ConfigurationError`` in one line if it is missing, not valid or empty."""
        self._path = path
        self._look_seconds = look_seconds
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._mark = self._mark_now()
        self.keys: tuple[Key, ...] = self._read()
        if not self.keys:
            raise ConfigurationError(f"the keys file {path} has no keys; `python -m indexer key` makes one")

    def watch(self) -> None:
        """Look at the file again and again from now on, off the event loop: a file system may hang."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="keys", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the watching; does not wait for a file system that hangs."""
        self._closed.set()

    def look(self) -> None:
        """Read the file if it is not the version that was read last."""
        mark = self._mark_now()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            keys = self._read()
        except ConfigurationError as error:
            log.warning("keys file not taken over, the keys before it stay valid", detail=error.detail)
            return
        self.keys = keys
        log.info("keys file taken over", keys=[key.name for key in keys])

    def _follow(self) -> None:
        while not self._closed.wait(self._look_seconds):
            try:
                self.look()
            except Exception:
                # Whatever it was: a revoked key must be noticed after it too.
                log.exception("looking at the keys file failed")

    def _mark_now(self) -> _Mark | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self) -> tuple[Key, ...]:
        try:
            content, mode = _regular_file(self._path)
            keys = parse_keys(content)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(f"the keys file {self._path} cannot be read: {reason}") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"the keys file {self._path} is not valid: {error.detail}") from None
        if mode & _OTHERS:
            log.warning("others may read or change the keys file", path=str(self._path), mode=f"{mode:04o}")
        return keys


def _regular_file(path: Path) -> tuple[bytes, int]:
    """Content and permissions. Raises ``OSError`` or ``ConfigurationError``; a pipe or device does not hold it up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError("it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(f"it has over {_MAX_BYTES} bytes")
    return content, stat.S_IMODE(found.st_mode)
