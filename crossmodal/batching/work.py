"""What is batched: its kinds, lanes and results."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol


class Lane(StrEnum):
    """Somebody waits for interactive work; bulk work only has to be done."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of work: how a batch of it is run and how large it may be.

    ``run`` blocks, takes 1 to ``max_items`` items and returns as many results in their order; it is called from as many
    threads at a time as there are batches in flight. ``size`` is the cost of an item that grows with its length, at
    least 1 (1 for all: items are alike); a batch takes neighbours of the first item's size, since every text in it is
    padded to the longest.
    """

    name: str
    run: Callable[[Sequence[Any]], Iterable[Any]]
    max_items: int
    bulk_items: int
    size: Callable[[Any], int] | None = None


class Outcome(NamedTuple):
    """``values`` in the order of the items; seconds spent waiting for a turn and running, for the slowest item."""

    values: list[Any]
    queued: float
    ran: float


class BatchObserver(Protocol):
    """Told of every batch; implementations must be quick."""

    def on_batch(self, kind: str, lane: Lane, *, items: int, seconds: float, queued: int) -> None:
        """``items`` ran for ``seconds`` while ``queued`` items were still waiting."""


class Silent:
    """An observer that tells nobody."""

    def on_batch(self, kind: str, lane: Lane, *, items: int, seconds: float, queued: int) -> None:
        """Tell nobody."""
