"""Gives back memory that nobody needs: of files that were read through mappings, and what the C library holds on to.

glibc raises the size from which it maps a block of its own with the largest block that was freed, up to 32 MiB, and keeps
twice as much at the end of each arena, of which threads have up to eight for each core. Large uploads pass through a dozen
threads: after five bursts of 150 pictures, a fifth of them of 10 to 18 MB, a process of 260 MB had grown to between 500 and 720 and
used 73. With limits of our own it grows by 60 at most. Fewer arenas (`MALLOC_ARENA_MAX=2`) do less and cost a tenth of the texts a second.

Not for a process in which PyTorch computes on the CPU: the tensors of a batch have 2 to 20 MB, and with these limits each is mapped,
cleared page by page and unmapped again. ViT-B-32 took 1.5 times the CPU time for pictures and 1.3 times for texts.
"""

import ctypes
import mmap
import os
from pathlib import Path
from typing import Final

__all__ = ["keep_little", "release_mapped"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Names of mallopt(3)."""

MAPPED_BYTES: Final = 2**22
"""From so many on a block is mapped by itself, and unmapped when it is freed. A request's pixels are smaller, its body may be larger.

With 1 MiB the pixels of 16 pictures are put together in 1.2 ms instead of 0.3; 750 uploads, a fifth of 10 to 14 MB, leave 24 MB instead of 54.
"""
KEPT_BYTES: Final = 8 * 2**20
"""What an arena keeps at its end: the pixels of fifty pictures."""


def keep_little() -> bool:
    """Set the limits for this process, from now on; False where the C library has none."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))


def release_mapped(path: Path) -> int:
    """Take the pages of ``path`` that this process mapped to read out of its memory; returns how many bytes are mapped.

    Whoever reads them again gets them from the system's cache of files, or from the disk. Nobody may take such a mapping
    away meanwhile: what was mapped in its place would be lost. 0 where there is no such mapping, or no /proc.
    """
    try:
        maps = Path("/proc/self/maps").read_bytes()
        madvise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return 0
    wanted, released = os.fsencode(path.resolve()), 0
    for line in maps.split(b"\n"):  # names are bytes; other ends of lines may be in them
        span, permissions, *_, name = line.split(maxsplit=5) or [b"", b"", b""]
        if name == wanted and b"w" not in permissions:  # what was written to a private mapping is nowhere else
            first, end = (int(address, 16) for address in span.split(b"-"))
            if madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED) == 0:
                released += end - first
    return released
