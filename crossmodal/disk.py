"""Room on the disk, looked for before it is needed.

The embedded engine writes through memory maps of sparse files: on a full disk the kernel has no way to say so but to
kill the process (SIGBUS). So writes stop while there is still room for what is under way.
"""

import os
from pathlib import Path

from crossmodal.errors import StoreUnavailable

MIB = 2**20
MIN_FREE = 128 * MIB
"""Bytes that must be free for a write: several times what one piece of a write can take."""
_BLOCK = 512  # what st_blocks counts, whatever the file system's own blocks (POSIX sys/stat.h)


def free_bytes(folder: Path) -> int:
    """Bytes free for this user on the file system of ``folder``. Raises ``OSError`` if it is gone."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def used_bytes(folder: Path) -> int:
    """Bytes that the files in ``folder`` really take on the disk; less than their sizes where they are sparse."""
    return sum(path.stat().st_blocks * _BLOCK for path in folder.rglob("*") if path.is_file())


def require_room(folder: Path, least: int) -> None:
    """Raise ``StoreUnavailable`` unless ``least`` bytes are free on the file system of ``folder``."""
    free = free_bytes(folder)
    if free < least:
        raise StoreUnavailable(
            f"the disk is nearly full: {free // MIB} MiB are free and nothing is written below {least // MIB} MiB"
        )
