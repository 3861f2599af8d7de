"""Where to put a threshold on a score, from labelled examples: precision and recall at every one that differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from crossmodal.errors import ConfigurationError

MIN_EXAMPLES = 10
"""Of each sort: of fewer, one more error moves precision or recall by over 0.1."""


@dataclass(frozen=True, slots=True)
class Point:
    """What ``threshold`` does: of ``flagged`` examples ``right`` are flagged rightly, of ``positives`` in all."""

    threshold: float
    flagged: int
    right: int
    positives: int

    @property
    def precision(self) -> float:
        """Of what is flagged, the part that is flagged rightly, 0 to 1."""
        return self.right / self.flagged

    @property
    def recall(self) -> float:
        """Of what should be flagged, the part that is, 0 to 1."""
        return self.right / self.positives

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0 to 1."""
        return 2 * self.right / (self.flagged + self.positives)


def points(scores: Sequence[float], positive: Sequence[bool]) -> list[Point]:
    """A point for each set of examples that some threshold flags, the smallest first.

    Each threshold is a short number between the least score that it flags and the next below it. Raises
    ``ConfigurationError`` for fewer than ``MIN_EXAMPLES`` of a sort.
    """
    positives = sum(positive)
    negatives = len(positive) - positives
    if positives < MIN_EXAMPLES or negatives < MIN_EXAMPLES:
        raise ConfigurationError(
            f"{positives} examples are of it and {negatives} are not; at least {MIN_EXAMPLES} of each are needed"
        )
    ranked = sorted(zip(scores, positive, strict=True), reverse=True)
    found: list[Point] = []
    right = 0
    for flagged, ((score, is_positive), (below, _)) in enumerate(pairwise([*ranked, (0.0, False)]), 1):
        right += is_positive
        if score > below or flagged == len(ranked):
            found.append(Point(_between(below, score), flagged, right, positives))
    return found


def average_precision(curve: Sequence[Point]) -> float:
    """The precision at each point, weighted by what recall it adds: 1 for a perfect order; equal scores count as one."""
    before = [0.0, *(point.recall for point in curve)]
    return sum((point.recall - last) * point.precision for point, last in zip(curve, before, strict=False))


def choose(curve: Sequence[Point], min_precision: float | None = None) -> Point | None:
    """The point of the best F1, or with ``min_precision`` that of the best recall among those at least so precise.

    Of equals the one that flags fewer. None if no point is so precise.
    """
    if min_precision is None:
        return max(curve, key=lambda point: (point.f1, -point.flagged))
    precise = [point for point in curve if point.precision >= min_precision]
    return max(precise, key=lambda point: (point.recall, -point.flagged), default=None)


def _between(below: float, score: float) -> float:
    middle = (below + score) / 2
    for digits in range(2, 17):
        short = round(middle, digits)
        if below < short <= score:
            return short
    return score
