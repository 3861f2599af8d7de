"""Pages of a ranking that stay the same from one search to the next, though engines order equal scores as they like."""

from collections.abc import Awaitable, Callable

from crossmodal.records import ScoredItem

MAX_TIES = 4096
"""How many more than asked are fetched to find the end of a run of equal scores."""


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

    Items of equal score, as of one picture indexed under several ids, would otherwise be cut anywhere by n and appear
    on two pages or on none. Raises ``ValueError`` as ``check_window`` does.
    """
    check_window(limit, offset)
    end = offset + limit
    asked = end + 1
    while True:
        found = sorted(await search(asked), key=rank)
        complete = len(found) < asked or found[-1].score < found[end - 1].score
        if complete or asked >= end + MAX_TIES:
            return found[offset:end]
        asked = min(2 * asked, end + MAX_TIES)
