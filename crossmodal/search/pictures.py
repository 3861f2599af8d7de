"""Bytes of a client to a picture the model can take, on a bounded pool of processes outside the event loop."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import Overloaded
from crossmodal.imaging import ImageLimits
from crossmodal.imaging.decoder import Decoder
from crossmodal.records import Preprocessing, hash_content
from crossmodal.telemetry import count_lost_decoder, stage

_MEGA = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A checked picture: its bytes as they came, their hash, and uint8 [size, size, 3] for the model.

    ``thumbnail`` is empty unless it was asked for; ``megapixels`` is the width times the height of the encoded picture
    in millions.
    """

    content: bytes
    content_hash: str
    pixels: NDArray[np.uint8]
    thumbnail: bytes = b""
    megapixels: float = 0.0


class PictureReader:
    """Decodes pictures in ``workers`` processes, one at a time in each; at most ``max_queued`` more wait.

    A picture may take ``deadline`` seconds of CPU time and thrice that by the clock, from when it is begun. A process that a picture hangs or kills fails that
    picture and is replaced. Processes are started when they are first needed.
    """

    def __init__(self, limits: ImageLimits, *, workers: int, max_queued: int, deadline: float = 10.0) -> None:
        self.limits = limits
        self._decoders = [Decoder(limits, deadline, count_lost_decoder) for _ in range(workers)]
        # The last one used comes first: as many processes run as are needed at a time.
        self._idle: asyncio.LifoQueue[Decoder] = asyncio.LifoQueue()
        for decoder in self._decoders:
            self._idle.put_nowait(decoder)
        self._waiters = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._hashers = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._max_queued = max_queued
        self._queued = 0

    async def start(self) -> None:
        """Start all processes now rather than with the first pictures. Raises ``ServerError`` if that cannot be."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._waiters, decoder.start) for decoder in self._decoders))

    async def read(self, content: bytes, preprocessing: Preprocessing, *, thumbnail: bool = False) -> Picture:
        """Decode and resize for the model, and make a thumbnail if asked to.

        Raises ``Overloaded`` when too many wait already, and what ``Decoder.prepare`` raises. A picture nobody waits for
        any more is not begun.
        """
        with stage("decode"):
            with self._queueing():
                decoder = await self._idle.get()
            reading = asyncio.get_running_loop().run_in_executor(
                self._waiters, self._read, decoder, content, preprocessing, thumbnail
            )
            # What was begun goes on when the client leaves, and its process is busy until it ends.
            reading.add_done_callback(lambda _: self._idle.put_nowait(decoder))
            return await asyncio.shield(reading)

    async def hash(self, content: bytes) -> str:
        """The content hash, made off the event loop: 20 MiB take it 10 ms and more."""
        with self._queueing():
            return await asyncio.get_running_loop().run_in_executor(self._hashers, hash_content, content)

    def close(self) -> None:
        """End the processes; a picture that is being decoded is answered with ``Overloaded``."""
        for decoder in self._decoders:
            decoder.close()
        self._waiters.shutdown(cancel_futures=True)
        self._hashers.shutdown(cancel_futures=True)

    @contextmanager
    def _queueing(self) -> Iterator[None]:
        if self._queued >= self._max_queued:
            raise Overloaded(f"{self._queued} pictures wait to be decoded, which is the limit")
        self._queued += 1
        try:
            yield
        finally:
            self._queued -= 1

    @staticmethod
    def _read(decoder: Decoder, content: bytes, preprocessing: Preprocessing, thumbnail: bool) -> Picture:  # noqa: FBT001
        prepared = decoder.prepare(content, preprocessing, thumbnail=thumbnail)
        return Picture(
            content,
            hash_content(content),
            prepared.pixels,
            prepared.thumbnail,
            prepared.width * prepared.height / _MEGA,
        )
