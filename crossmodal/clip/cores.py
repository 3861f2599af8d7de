"""How calls that meet share a CPU.

The threads of one call wait for each other in every layer, and all of them wait long where one's core is taken by a decoder
or by another process. Calls with threads of their own wait for nobody, but one that is alone would leave cores idle.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["BATCH_IMAGES", "BATCH_TEXTS", "CALLS", "Cores"]

CALLS: Final = 2
"""So many calls compute beside one another, where there are as many threads."""

BATCH_IMAGES, BATCH_TEXTS = 8, 16
"""In each of them. With two of 16 in flight 32 clients have all their pictures in the model, and none to decode."""


class Cores:
    """Who computes on them now, in whichever tower."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._computing = 0

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Compute inside; says whether somebody else was computing when it began."""
        with self._lock:
            shared = self._computing > 0
            self._computing += 1
        try:
            yield shared
        finally:
            with self._lock:
                self._computing -= 1
