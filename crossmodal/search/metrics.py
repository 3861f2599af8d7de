"""How good a ranking is: recall@k, success@k, reciprocal rank, nDCG@k, and how sure one may be of their means.

Ties count against the ranking: of items with equal scores the less relevant ones come first. A model that gives every
item the same score is thereby no better than the worst order, and no number depends on the order of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Values = NDArray[np.float64]
Counts = NDArray[np.int64]

CONFIDENCE = 0.95
_BLOCK = 100
"""Resamples drawn at a time: 4 MB of counts for 5,000 clusters."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What became of one query's relevant items.

    ``ranks``, int64 [m], counted from 1 and ascending, are those of the m relevant items that were found, ``gains``,
    float64 [m], how relevant each is (above 0). ``ideal``, float64 [r] with r of at least m and 1, are the gains of all
    relevant items, found or not, descending.
    """

    ranks: Counts
    gains: Values
    ideal: Values


def judge(scores: Floats, gains: Floats, ideal: Floats | None = None) -> Judged:
    """Rank n items by ``scores`` [n], higher is better, whose ``gains`` [n] are 0 for what is not relevant.

    ``ideal`` are the gains of all relevant items in any order, where some are not among the n. Raises ``ValueError`` for
    shapes that do not fit, scores that are not finite, negative gains, or if nothing is relevant.
    """
    if scores.ndim != 1 or scores.shape != gains.shape:
        raise ValueError(f"scores and gains are vectors of one length; got {scores.shape} and {gains.shape}")
    if not np.isfinite(scores).all() or not np.isfinite(gains).all() or (gains < 0).any():
        raise ValueError("scores must be finite, gains finite and not negative")
    relevant = np.flatnonzero(gains)
    every = gains[relevant] if ideal is None else ideal
    if not len(every) or len(every) < len(relevant):
        raise ValueError(f"at least one relevant item is needed, and all that were found; got {len(every)}")
    order = relevant[np.lexsort((gains[relevant], -scores[relevant]))]
    own = scores[order]
    # Before the i-th relevant item come i - 1 relevant ones and whatever else scores as high.
    others = [np.count_nonzero(scores >= each) - np.count_nonzero(own >= each) for each in own]
    ranks = np.asarray(others, np.int64) + np.arange(1, len(order) + 1)
    return Judged(ranks, gains[order].astype(np.float64), np.sort(np.asarray(every, np.float64))[::-1])


def success_at(judged: Judged, k: int) -> float:
    """1 if a relevant item is among the best k, else 0.

    The tables of image-text retrieval call the mean of this recall@k: a picture counts as found if any of its captions
    is among the k best of all captions (M. Hodosh, P. Young and J. Hockenmaier, JAIR 47, 2013; A. Karpathy and L. Fei-Fei,
    CVPR 2015).
    """
    return float(judged.ranks.size > 0 and judged.ranks[0] <= k)


def recall_at(judged: Judged, k: int) -> float:
    """Share of the relevant items that are among the best k, 0 to 1.

    The recall of information retrieval (C. Manning, P. Raghavan and H. Schütze, 2008, section 8.4). It is success@k where
    one item is relevant, and cannot reach 1 where more than k are.
    """
    return float(np.count_nonzero(judged.ranks <= k) / len(judged.ideal))


def reciprocal_rank(judged: Judged) -> float:
    """1 / rank of the first relevant item, 0 if none was found; its mean is MRR (E. Voorhees, TREC-8, 1999)."""
    return float(1.0 / judged.ranks[0]) if judged.ranks.size else 0.0


def ndcg_at(judged: Judged, k: int) -> float:
    """Discounted cumulative gain of the best k over that of the best possible order, 0 to 1.

    DCG@k is the sum over ranks i up to k of gain_i / log2(i + 1): the linear gains of K. Järvelin and J. Kekäläinen
    (ACM TOIS 20(4), 2002), with the discount that begins at the second rank, as in C. Burges et al. (ICML 2005).
    """
    within = judged.ranks <= k
    return _dcg(judged.gains[within], judged.ranks[within]) / _dcg(
        judged.ideal[:k], np.arange(1, len(judged.ideal) + 1)[:k]
    )


def _dcg(gains: Values, ranks: Counts) -> float:
    return float(np.sum(gains / np.log2(ranks + 1.0)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries, 0 to 1, and the bounds ``low`` to ``high`` of its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def estimate(values: Values, clusters: Sequence[int] | Counts, *, resamples: int, seed: int) -> list[Estimate]:
    """Means over the queries of ``values`` [queries, metrics], with bootstrap intervals.

    Queries of the same number in ``clusters`` [queries] are drawn together: the captions of one picture are not
    independent of each other. Percentile intervals over ``resamples`` draws of as many clusters as there are (B. Efron and
    R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). The items searched stay the same in every draw, so
    the interval says how the mean would vary with other queries, not with another collection. The same ``seed`` gives the
    same intervals. Raises ``ValueError`` if there is no query.
    """
    if not len(values):
        raise ValueError("there is no query to take a mean of")
    _, places = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(places.max()) + 1
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, places, values)
    sizes = np.bincount(places).astype(np.float64)
    random = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, _BLOCK):
        drawn = random.multinomial(count, np.full(count, 1.0 / count), size=min(_BLOCK, resamples - start))
        means.append(drawn @ sums / (drawn @ sizes)[:, None])
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail], axis=0)
    return [Estimate(*map(float, each)) for each in zip(values.mean(axis=0), low, high, strict=True)]
