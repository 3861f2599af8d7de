"""Items by their stores' keys, weighed and put in one order before any of them is read: few of many are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossmodal.records import Partition
from crossmodal.search.relevance import logistic
from crossmodal.store.base import Key

Floats = NDArray[np.float64]


class Name(NamedTuple):
    """Where an item is, and its key there."""

    partition: Partition
    key: Key


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a window is chosen from. Arrays are [n].

    ``scores`` are cosines with what is looked for; ``logits`` say how likely each is a match, above 0 likelier than not,
    and ``wanted`` the same without penalties. Those that are ``pooled`` come first, by logit; the others follow by what is
    wanted, which is the order in which a store finds them, so that looking further changes nothing before.
    """

    names: list[Name]
    scores: Floats
    logits: Floats
    wanted: Floats
    pooled: NDArray[np.bool_]

    @staticmethod
    def together(lists: Sequence["Candidates"]) -> "Candidates":
        """Those of several collections."""
        return Candidates(
            [name for each in lists for name in each.names],
            np.concatenate([each.scores for each in lists]),
            np.concatenate([each.logits for each in lists]),
            np.concatenate([each.wanted for each in lists]),
            np.concatenate([each.pooled for each in lists]),
        )

    def at(self, places: Sequence[int]) -> "Candidates":
        """Those at ``places``, in their order."""
        which = np.array(places, np.intp)
        names = [self.names[place] for place in places]
        return Candidates(names, self.scores[which], self.logits[which], self.wanted[which], self.pooled[which])

    def relevant(self, least: float) -> "Candidates":
        """Those of at least this relevance, 0 to 1."""
        if least <= 0:
            return self
        return self.at([place for place, logit in enumerate(self.logits.tolist()) if logistic(logit) >= least])

    def in_order(self) -> "Candidates":
        """Best first; equal ones in an order that depends on nothing but their names."""
        ranks = [
            (not pooled, -value, partition.modality, key)
            for pooled, value, (partition, key) in zip(
                self.pooled.tolist(), self._values.tolist(), self.names, strict=True
            )
        ]
        return self.at(sorted(range(len(ranks)), key=ranks.__getitem__))

    def run(self, part: slice) -> slice:
        """``part`` of some in order, and with it all that are equal to its first or its last."""
        start, end = part.start, part.stop
        if start >= end:
            return part
        while start and self.rank(start - 1) == self.rank(part.start):
            start -= 1
        while end < len(self) and self.rank(end) == self.rank(part.stop - 1):
            end += 1
        return slice(start, end)

    def rank(self, place: int) -> tuple[bool, float]:
        """By which the one at ``place`` is ordered; equal for those that nothing but their names tells apart."""
        return not self.pooled[place], -float(self._values[place])

    @cached_property
    def _values(self) -> Floats:
        return np.where(self.pooled, self.logits, self.wanted)

    def __len__(self) -> int:
        return len(self.names)
