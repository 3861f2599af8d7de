"""What was measured: rankings, their numbers, and the scores behind them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from crossmodal.search.metrics import (
    Estimate,
    Judged,
    estimate,
    ndcg_at,
    recall_at,
    reciprocal_rank,
    success_at,
)

KS = (1, 5, 10)
CURVE = 50
"""recall@k is drawn up to this k."""

Metric = Callable[[Judged], float]


def pair_metrics() -> dict[str, Metric]:
    """The numbers of the published tables: recall@k asks whether any caption, or the picture, is among the best k."""
    named: dict[str, Metric] = {f"recall@{k}": partial(success_at, k=k) for k in KS}
    return named | {"mrr": reciprocal_rank, "ndcg@10": partial(ndcg_at, k=10)}


def query_metrics() -> dict[str, Metric]:
    """The numbers for queries that may have many relevant items: recall@k is the share of them that is found."""
    named: dict[str, Metric] = {f"recall@{k}": partial(recall_at, k=k) for k in KS}
    named |= {f"success@{k}": partial(success_at, k=k) for k in KS}
    return named | {"mrr": reciprocal_rank, "ndcg@10": partial(ndcg_at, k=10)}


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """All queries of one direction, judged.

    ``clusters`` [queries] numbers the queries that are drawn together in a resample. ``searched`` items were ranked, of
    each ranking the first ``depth`` are known, all where it is None. ``extra`` are further values a query, by name.
    """

    judged: Sequence[Judged]
    clusters: Sequence[int]
    searched: int
    depth: int | None = None
    extra: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def estimates(self, metrics: Mapping[str, Metric], *, resamples: int, seed: int) -> dict[str, Estimate]:
        """The mean of each metric over the queries, with its interval."""
        columns = {name: [metric(each) for each in self.judged] for name, metric in metrics.items()} | dict(self.extra)
        values = np.array(list(columns.values()), np.float64).T
        return dict(zip(columns, estimate(values, self.clusters, resamples=resamples, seed=seed), strict=True))

    def curve(self, metric: Callable[[Judged, int], float]) -> list[float]:
        """The mean of ``metric`` at k = 1, 2, ... as far as it is drawn and known."""
        end = min(CURVE, self.searched, self.depth or CURVE)
        return [float(np.mean([metric(each, k) for each in self.judged])) for k in range(1, end + 1)]


BINS = 400
"""Of the cosines -1 to 1: each is 0.005 wide."""


@dataclass(slots=True, eq=False)
class Scores:
    """How often pairs had which cosine: int64 [BINS] over -1 to 1, of those that belong together and of all others."""

    matches: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    others: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, cosines: NDArray[np.float32], matching: NDArray[np.bool_]) -> None:
        """Count ``cosines``; both arrays have one shape."""
        bins = np.clip((cosines + 1.0) * (BINS / 2), 0, BINS - 1).astype(np.int32)
        every = np.bincount(bins.ravel(), minlength=BINS)
        matches = np.bincount(bins[matching], minlength=BINS)
        self.matches += matches
        self.others += every - matches


def centres() -> NDArray[np.float64]:
    """The cosine in the middle of each bin, float64 [BINS]."""
    return np.asarray((np.arange(BINS) + 0.5) * (2 / BINS) - 1.0, np.float64)


def quantiles(counts: NDArray[np.int64], shares: Sequence[float]) -> list[float]:
    """Cosines below which these ``shares`` (0 to 1) of the counted pairs lie, to the width of a bin; [] where there are none."""
    if not counts.sum():
        return []
    reached = np.searchsorted(np.cumsum(counts), np.asarray(shares) * counts.sum())
    return [float(centres()[min(place, BINS - 1)]) for place in reached]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """An evaluation: what was done (``how``), rankings by direction, and the numbers to compute of them.

    ``curve`` is the metric that is drawn over k. ``counts`` says how much there was of what. ``unreadable`` are names and
    reasons of pictures that were left out, ``unknown`` ids that should be found but are not indexed.
    """

    how: str
    directions: Mapping[str, Direction]
    metrics: Mapping[str, Metric]
    curve: Callable[[Judged, int], float]
    counts: Mapping[str, int]
    unreadable: Sequence[tuple[str, str]] = ()
    unknown: Sequence[str] = ()
    scores: Scores | None = None
