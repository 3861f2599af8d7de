"""Bytes of a client to a picture the model can take, on a bounded pool of threads outside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmodal import imaging
from crossmodal.errors import Overloaded
from crossmodal.imaging import ImageLimits
from crossmodal.metering import charge
from crossmodal.records import Preprocessing, hash_content
from crossmodal.telemetry import stage

R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A checked picture: its bytes as they came, their hash, and uint8 [size, size, 3] for the model.

    ``thumbnail`` is empty unless it was asked for. ``megapixels`` are those of the decoded original, in millions.
    """

    content: bytes
    content_hash: str
    pixels: NDArray[np.uint8]
    thumbnail: bytes = b""
    megapixels: float = 0.0


class PictureReader:
    """Decodes pictures; at most ``max_queued`` are taken in at a time."""

    def __init__(self, limits: ImageLimits, *, threads: int, max_queued: int) -> None:
        self.limits = limits
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._max_queued = max_queued
        self._taken = 0

    async def read(self, content: bytes, preprocessing: Preprocessing, *, thumbnail: bool = False) -> Picture:
        """Decode and resize for the model, and make a thumbnail if asked to.

        Raises ``Overloaded`` when too many wait already, and the client errors of ``crossmodal.imaging.decode``.
        """
        picture = await self._in_pool(self._read, content, preprocessing, thumbnail)
        charge(megapixels=picture.megapixels)
        return picture

    async def hash(self, content: bytes) -> str:
        """The content hash, made off the event loop: 20 MiB take it 10 ms and more."""
        return await self._in_pool(hash_content, content)

    async def _in_pool(self, function: Callable[..., R], *args: object) -> R:
        if self._taken >= self._max_queued:
            raise Overloaded(f"{self._taken} pictures wait to be decoded, which is the limit")
        self._taken += 1
        try:
            with stage("decode"):
                return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        finally:
            self._taken -= 1

    def _read(self, content: bytes, preprocessing: Preprocessing, thumbnail: bool) -> Picture:  # noqa: FBT001
        image = imaging.decode(content, self.limits)
        return Picture(
            content,
            hash_content(content),
            imaging.to_pixels(image, preprocessing),
            imaging.thumbnail(image) if thumbnail else b"",
            megapixels=image.width * image.height / 1e6,
        )

    def close(self) -> None:
        """Wait for what is being decoded and end the threads."""
        self._pool.shutdown(cancel_futures=True)
