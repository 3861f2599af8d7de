"""Bytes of a client to a picture the model can take, on a bounded pool of threads outside the event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmodal import imaging
from crossmodal.errors import Overloaded, PayloadTooLarge, ValidationFailed
from crossmodal.fetching.base import Fetcher
from crossmodal.imaging import ImageLimits
from crossmodal.metering import charge
from crossmodal.records import Preprocessing, hash_content
from crossmodal.telemetry import stage

R = TypeVar("R")

_FETCHED_AT_ONCE = 8
"""Pictures of one request that are fetched from their URLs at a time."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What the fetches of one request may take together: ``max_bytes``, and ``seconds`` from its first to its last.

    Without them a few kilobytes of URLs would make the service hold a hundred pictures.
    """

    max_bytes: int = 20 * 2**20
    seconds: float = 30.0


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
    """Decodes pictures; at most ``max_queued`` are taken in at a time. Without a ``fetcher``, URLs are refused."""

    def __init__(
        self,
        limits: ImageLimits,
        *,
        threads: int,
        max_queued: int,
        fetcher: Fetcher | None = None,
        fetch_limits: FetchLimits = FetchLimits(),
    ) -> None:
        self.limits = limits
        self._fetcher = fetcher
        self._fetch_limits = fetch_limits
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._max_queued = max_queued
        self._taken = 0

    def intake(self) -> "Intake":
        """What reads the pictures in the strings of one request."""
        return Intake(self.limits, self._fetcher, self._fetch_limits)

    async def bytes_of(self, text: str) -> bytes:
        """The encoded picture of a request's only string; see ``Intake.bytes_of``."""
        return await self.intake().bytes_of(text)

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
        if self._fetcher is not None:
            self._fetcher.close()
        self._pool.shutdown(cancel_futures=True)


class Intake:
    """The strings of one request that each hold or name a picture, and what they may take together."""

    def __init__(self, limits: ImageLimits, fetcher: Fetcher | None, fetch_limits: FetchLimits) -> None:
        self._limits = limits
        self._fetcher = fetcher
        self._fetch_limits = fetch_limits
        self._slots = asyncio.Semaphore(_FETCHED_AT_ONCE)
        self._deadline = asyncio.get_running_loop().time() + fetch_limits.seconds
        self._fetched = 0

    async def bytes_of(self, text: str) -> bytes:
        """The encoded picture: out of a data URL or base64, or fetched from an http(s) URL.

        What kind of picture it is, if it is one, is for decoding to find out; no server's word is taken for it.
        Raises the client errors of ``picture_bytes`` and of ``Fetcher.fetch``; ``Overloaded``.
        """
        if self._fetcher is None or not imaging.is_web_url(text):
            return imaging.picture_bytes(text, self._limits)
        try:
            async with asyncio.timeout_at(self._deadline), self._slots:
                with stage("fetch"):
                    content = await self._fetcher.fetch(text, self._spend)
        except TimeoutError as error:
            seconds = f"{self._fetch_limits.seconds:g} s"
            raise ValidationFailed(
                f"The pictures of one request did not all arrive from their URLs within {seconds}."
            ) from error
        if not content:
            raise ValidationFailed("The server of the picture sent nothing.")
        return content

    def _spend(self, count: int) -> None:
        self._fetched += count
        if self._fetched > self._fetch_limits.max_bytes:
            raise PayloadTooLarge(
                f"The pictures at the URLs of one request have more than {self._fetch_limits.max_bytes} bytes together, "
                "which is the limit; send fewer at a time."
            )


async def together(work: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """Do all of it side by side; when some fails, end the rest before raising."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
