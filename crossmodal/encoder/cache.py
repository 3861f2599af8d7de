"""Embeddings that were made already, kept within a bound of bytes; what was not asked for longest goes first."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from crossmodal.records import Embedding

ENTRY_BYTES = 384
"""What an entry takes beside its numbers: key, array header, dictionary slot, links (measured among 20,000: 324)."""

Key = bytes
"""Names what was embedded: its kind and the hash of its content."""


class Entry(NamedTuple):
    """An embedding, and of a text how many tokens it has and whether it was cut; see ``TextEmbeddings``."""

    embedding: Embedding
    tokens: int = 0
    truncated: bool = False

    @property
    def size(self) -> int:
        """Bytes it takes in the cache."""
        return self.embedding.nbytes + ENTRY_BYTES


class EmbeddingCache:
    """Entries of one model, of at most ``max_bytes`` together. Used from one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._fingerprint = ""
        self.bytes = 0
        """What the entries take."""

    def __len__(self) -> int:
        return len(self._entries)

    def turn_to(self, fingerprint: str) -> None:
        """Hold embeddings of this model from now on; those of another are forgotten."""
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._entries.clear()
            self.bytes = 0

    def get(self, key: Key) -> Entry | None:
        """The entry of ``key``, whose array must not be handed on as it is: it is read-only."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, fingerprint: str, entries: Mapping[Key, Entry]) -> None:
        """Keep copies of ``entries``, which the model with ``fingerprint`` made: nothing if it is not the present one."""
        if fingerprint != self._fingerprint:
            return
        for key, entry in entries.items():
            self._drop(key)
            # A row of a batch would keep the whole batch in memory.
            own = entry._replace(embedding=np.array(entry.embedding, dtype=np.float32))
            own.embedding.setflags(write=False)
            self._entries[key] = own
            self.bytes += own.size
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size
