"""What the use cases need of a fetcher."""

from collections.abc import Callable
from typing import Protocol

Spend = Callable[[int], None]
"""Called with the number of bytes of each chunk as it comes in; may raise to end the fetch."""


class Fetcher(Protocol):
    """Reads pictures from http(s) URLs of a stranger's choice."""

    async def fetch(self, url: str, spend: Spend) -> bytes:
        """The bytes at ``url``, of whatever kind they are.

        Raises ``ValidationFailed`` if it may not or cannot be fetched or does not arrive in time, ``PayloadTooLarge``
        if it is over the limit of one picture, ``Overloaded`` if too much is being fetched already, and whatever
        ``spend`` raises.
        """
        ...

    def close(self) -> None:
        """Release what it holds; not to be used any more."""
        ...
