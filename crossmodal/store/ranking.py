"""Pages of a ranking that stay the same from one search to the next, though engines order equal scores as they like."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from crossmodal.records import ScoredItem

MAX_TIES = 4096
"""How many more than asked are fetched to find the end of a run of equal scores."""


class _Scored(Protocol):
    @property
    def score(self) -> float: ...


T = TypeVar("T", bound=_Scored)


def rank(hit: ScoredItem) -> tuple[float, str]:
    """The key by which every store sorts hits: best score first, equal scores by id."""
    return -hit.score, hit.item.id


def check_window(limit: int, offset: int) -> None:
    """Raise ``ValueError`` unless ``limit`` is at least 1 and ``offset`` at least 0."""
    if limit < 1 or offset < 0:
        raise ValueError(f"limit is at least 1 and offset at least 0; got {limit} and {offset}")


async def stable_page(
    search: Callable[[int], Awaitable[list[ScoredItem]]], *, limit: int, offset: int
) -> list[ScoredItem]:
    """Hits ``offset`` to ``offset + limit`` in the order of ``rank``; ``search`` returns the best n, or all if fewer.

    Raises ``ValueError`` as ``check_window`` does.
    """
    check_window(limit, offset)
    end = offset + limit
    return sorted(await whole_runs(search, limit=end), key=rank)[offset:end]


async def whole_runs(search: Callable[[int], Awaitable[list[T]]], *, limit: int) -> list[T]:
    """The best ``limit``, best first, and with them all that are equal to the last of these; ``search`` as above.

    Items of equal score, as of one picture indexed under several ids, would otherwise be cut anywhere and appear on two
    pages or on none. Raises ``ValueError`` as ``check_window`` does.
    """
    check_window(limit, 0)
    asked = limit + 1
    while True:
        found = sorted(await search(asked), key=lambda hit: -hit.score)
        if len(found) < limit:
            return found
        complete = len(found) < asked or found[-1].score < found[limit - 1].score
        if complete or asked >= limit + MAX_TIES:
            return [hit for hit in found if hit.score >= found[limit - 1].score]
        asked = min(2 * asked, limit + MAX_TIES)
