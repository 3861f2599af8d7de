"""An encoder that remembers: what was embedded lately is answered without the model.

Only interactive work fills the memory: an index run would push out the queries, and asks for nothing twice. Callers that
miss the same thing at the same time share one computation, which goes on as long as one of them waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from crossmodal.batching import Lane
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.encoder.base import Encoder
from crossmodal.encoder.cache import EmbeddingCache, Entry, Key
from crossmodal.records import Embeddings, Pixels
from crossmodal.telemetry import count_lookups, show_cached_bytes, stage

_KEY_BYTES = 32
_FEW_BYTES = 2**20
"""So much is hashed in about a millisecond; more is hashed beside the event loop."""

Items = Mapping[Key, Any]
Made = dict[Key, Entry]
Make = Callable[[list[Any]], Awaitable[list[Entry]]]
"""Asks the model for the entries of several items."""


class _Flight:
    """A computation that several callers wait for, each between ``join`` and ``leave``; without any it is given up."""

    def __init__(self, work: Awaitable[Made]) -> None:
        self.task = asyncio.ensure_future(work)
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # marks a fault as seen
        self._waiting = 0

    @property
    def given_up(self) -> bool:
        """Whether nobody waits any more."""
        return not self._waiting

    def join(self) -> None:
        self._waiting += 1

    def leave(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self.task.cancel()  # nothing, if it has ended

    @property
    def made(self) -> Made:
        """What was made, nothing if it failed."""
        failed = not self.task.done() or self.task.cancelled() or self.task.exception() is not None
        return {} if failed else self.task.result()


class CachedEncoder:
    """An ``Encoder`` before another one; what it keeps takes at most ``max_bytes``.

    It answers only while the other one does: that is asked for a sign of life before anything is taken from memory, and
    what a model of another fingerprint made is forgotten.
    """

    def __init__(self, encoder: Encoder, *, max_bytes: int) -> None:
        self._encoder = encoder
        self._cache = EmbeddingCache(max_bytes)
        self._flights: dict[Key, _Flight] = {}

    async def info(self) -> ModelInfo:
        """What is loaded."""
        return await self._encoder.info()

    async def ping(self) -> None:
        """Return if the model answers now. Raises ``ModelUnavailable``."""
        await self._encoder.ping()

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length."""

        async def make(missing: list[Pixels]) -> list[Entry]:
            # All of them: they lie beside each other already.
            wanted = pixels if len(missing) == len(pixels) else np.stack(missing)
            return [Entry(row) for row in await self._encoder.embed_pixels(wanted, lane)]

        entries = await self._entries("image", list(pixels), pixels.nbytes, make, lane)
        return await self._stack(entries)

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        """Embed n texts."""

        async def make(missing: list[str]) -> list[Entry]:
            answer = await self._encoder.embed_texts(missing, lane)
            return [Entry(row, int(tokens), bool(cut)) for row, tokens, cut in zip(*answer, strict=True)]

        entries = await self._entries("text", texts, sum(map(len, texts)), make, lane)
        return TextEmbeddings(
            await self._stack(entries),
            np.array([entry.tokens for entry in entries], dtype=np.int32),
            np.array([entry.truncated for entry in entries], dtype=np.bool_),
        )

    async def close(self) -> None:
        """Finish what runs, refuse the rest."""
        await self._encoder.close()

    async def _entries(self, kind: str, items: Sequence[Any], size: int, make: Make, lane: Lane) -> list[Entry]:
        """An entry for each item, from memory as far as possible; ``size`` is about the bytes of all items."""
        await self._encoder.ping()
        self._cache.turn_to((await self._encoder.info()).fingerprint)
        if lane is Lane.BULK and not len(self._cache):  # nothing to find, and nothing will be kept: no need to hash
            return await make(list(items)) if items else []
        keys = await asyncio.to_thread(_keys, kind, items) if size > _FEW_BYTES else _keys(kind, items)
        known = {key: entry for key in set(keys) if (entry := self._cache.get(key)) is not None}
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
        hits = sum(key in known for key in keys)
        count_lookups(kind, lane, hits=hits, misses=len(keys) - hits)
        if missing:
            work = self._make(missing, make) if lane is Lane.BULK else self._share(missing, make)
            known |= await work
        return [known[key] for key in keys]

    async def _share(self, missing: Items, make: Make) -> Made:
        """Make what nobody is making yet, and wait for the rest."""
        others = {
            key: flight for key in missing if (flight := self._flights.get(key)) is not None and not flight.given_up
        }
        own = {key: item for key, item in missing.items() if key not in others}
        joined = set(others.values())
        mine = self._start(own, make) if own else None
        for flight in joined:
            flight.join()
        try:
            made: Made = {}
            if mine is not None:
                await asyncio.wait([mine.task])
                made |= mine.task.result()
            if joined:
                with stage("embed"):
                    await asyncio.wait([flight.task for flight in joined])
                for flight in joined:
                    made |= flight.made
        finally:
            for flight in joined | ({mine} if mine else set()):
                flight.leave()
        # A fault of another's request, of which these were a part, need not be one of these.
        failed = {key: item for key, item in missing.items() if key not in made}
        return made | (await self._make_and_keep(failed, make) if failed else {})

    def _start(self, own: Items, make: Make) -> _Flight:
        """Begin to make ``own``, for whoever wants it; joined once, for the caller."""
        flight = _Flight(self._make_and_keep(own, make))
        flight.join()
        self._flights |= dict.fromkeys(own, flight)

        def end(_: object) -> None:
            for key in own:
                if self._flights.get(key) is flight:
                    del self._flights[key]

        flight.task.add_done_callback(end)
        return flight

    async def _make_and_keep(self, missing: Items, make: Make) -> Made:
        fingerprint = (await self._encoder.info()).fingerprint
        made = await self._make(missing, make)
        if (await self._encoder.info()).fingerprint == fingerprint:
            self._cache.put(fingerprint, made)
            show_cached_bytes(self._cache.bytes)
        return made

    @staticmethod
    async def _make(missing: Items, make: Make) -> Made:
        return dict(zip(missing, await make(list(missing.values())), strict=True))

    async def _stack(self, entries: Sequence[Entry]) -> Embeddings:
        """All in a new array, which is the caller's."""
        if entries:
            return np.stack([entry.embedding for entry in entries])
        return np.empty((0, (await self._encoder.info()).dim), dtype=np.float32)


def _keys(kind: str, items: Sequence[Any]) -> list[Key]:
    """A key for each text or picture; no two kinds share one."""
    contents: list[Any] = [
        item.encode("utf-8", "surrogatepass") if isinstance(item, str) else np.ascontiguousarray(item) for item in items
    ]
    return [blake2b(content, digest_size=_KEY_BYTES, person=kind.encode()).digest() for content in contents]
