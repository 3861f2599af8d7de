"""The strings of a request that hold a picture or name one: out of base64, or fetched within bounds."""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from crossmodal import imaging
from crossmodal.errors import PayloadTooLarge, ValidationFailed
from crossmodal.fetching.base import Fetcher
from crossmodal.imaging import ImageLimits
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
