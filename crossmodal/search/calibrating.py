"""Measure on a collection how a model's cosines are spread and what they mean, for ``crossmodal.search.relevance``.

What unrelated items score needs no labels: nearly all pairs of a collection are unrelated. Where it is known which
items belong together, the curve from cosine to relevance is fitted to them (Platt scaling). Where it is not, its
midpoint is set four standard deviations above what unrelated items score, which one in 30,000 unrelated items reaches
if their cosines are normally distributed, and its slope to 5 per standard deviation: the bundled model's fitted curves
have midpoints at 3.7 to 4.1 and slopes of 1.5 to 6.3.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ConfigurationError
from crossmodal.records import Item, Modality, PairName, PairStatistics, Partition, Point
from crossmodal.store.base import VectorStore

LEAST_ITEMS = 30
"""Fewer items of a modality say too little of what unrelated ones score."""
LEAST_MATCHES = 30
"""Fewer matching pairs are not fitted to."""
LEAST_AUROC = 0.9
"""Pairs that score hardly above unrelated ones are not fitted to: by this model they do not match, whatever their metadata
say, and a curve through them would call everything a match."""

_MIDPOINT_STDS = 4.0
_SLOPE_PER_STD = 5.0
_MATCHES_EACH = 10
_BACKGROUND = 100_000
_LEAST_UNRELATED = 100
_LEAST_STD = 1e-4
_NEWTON_STEPS = 100
_CLOSE_ENOUGH = 1e-9

Floats = NDArray[np.float64]

Matching = Callable[[Item], Sequence[str]]
"""The names of what an item belongs to: items of a common name match."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a pair of modalities.

    ``matches`` and ``unrelated`` are how many pairs there were; ``auroc`` is the probability that a matching pair scores
    above an unrelated one, None for fewer than ``LEAST_MATCHES``. The curve is ``fitted`` to both, or else rests on
    unrelated pairs alone.
    """

    statistics: PairStatistics
    matches: int
    unrelated: int
    auroc: float | None
    fitted: bool


class Calibrating:
    """The use case."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    async def measure(
        self, tenant: str, *, sample: int, matching: Matching | None = None, seed: int = 0
    ) -> Mapping[PairName, Measured]:
        """Measure at most ``sample`` items of each modality, in the store's own order, which is no order of theirs.

        Pairs of modalities with fewer than ``LEAST_ITEMS`` items are left out. Raises ``ConfigurationError`` if that are
        all, and ``StoreUnavailable``.
        """
        samples = {modality: await self._sample(Partition(tenant, modality), sample) for modality in Modality}
        rng = random.Random(seed)  # noqa: S311 -- a sample, nothing secret
        measured: dict[PairName, Measured] = {}
        for pair in get_args(PairName):
            query, target = (samples[Modality(name)] for name in pair.split("-"))
            if min(len(query), len(target)) >= LEAST_ITEMS:
                # A cosine has no direction: what a picture asks of texts is what they ask of it.
                twin = measured.get("text-image") if pair == "image-text" else None
                measured[pair] = twin or _measure(query, target, matching, rng)
        if not measured:
            counts = ", ".join(f"{len(points)} of modality {modality}" for modality, points in samples.items())
            raise ConfigurationError(f"there are too few items to measure: {counts}; {LEAST_ITEMS} are needed")
        return measured

    async def keep(self, measured: Mapping[PairName, Measured]) -> None:
        """Keep what was measured with the collections. Raises ``StoreUnavailable``."""
        await self._store.keep_statistics({pair: each.statistics for pair, each in measured.items()})

    async def forget(self) -> None:
        """Go back to what comes with the model. Raises ``StoreUnavailable``."""
        await self._store.keep_statistics({})

    async def _sample(self, partition: Partition, count: int) -> list[Point]:
        points: list[Point] = []
        cursor: str | None = None
        while len(points) < count:
            page = await self._store.scroll(partition, limit=min(1000, count - len(points)), cursor=cursor)
            ids = [item.id for item in page.items]
            found = await self._store.fetch(partition, ids, with_embeddings=True)
            points += [point for point in found if point is not None]
            cursor = page.next_cursor
            if cursor is None:
                break
        return points


def fit_logistic(matches: Floats, others: Floats) -> tuple[float, float]:
    """Midpoint (a cosine) and slope of the logistic curve between two samples of cosines.

    Platt scaling (J. Platt, "Probabilistic outputs for support vector machines", 1999): maximum likelihood by Newton's
    method, with Platt's smoothed targets. Both samples weigh the same whatever their sizes, so that the curve gives the
    probability of a match when one is as likely as not.
    """
    cosines = np.concatenate([matches, others])
    smoothed = (len(matches) + 1) / (len(matches) + 2), 1 / (len(others) + 2)
    targets = np.repeat(smoothed, (len(matches), len(others)))
    weights = np.repeat((0.5 / len(matches), 0.5 / len(others)), (len(matches), len(others)))
    inputs = np.stack([cosines, np.ones_like(cosines)])
    slope_and_offset = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        # Clipped so that a far-off Newton step cannot overflow; at 30 the curve is flat to 13 digits.
        p = 1 / (1 + np.exp(-np.clip(slope_and_offset @ inputs, -30, 30)))
        gradient = inputs @ (weights * (p - targets))
        curvature = (inputs * (weights * p * (1 - p))) @ inputs.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        slope_and_offset -= step / max(1.0, float(np.abs(step).max()) / 10)
        if np.abs(step).max() < _CLOSE_ENOUGH:
            break
    slope, offset = slope_and_offset
    return float(-offset / slope), float(slope)


def auroc(matches: Floats, others: Floats) -> float:
    """The probability that one of ``matches`` is above one of ``others``, an equal one counting half.

    The area under the receiver operating characteristic, by ranks (H. Mann and D. Whitney, 1947).
    """
    ordered = np.sort(others)
    below, not_above = np.searchsorted(ordered, matches, "left"), np.searchsorted(ordered, matches, "right")
    return float((below + not_above).mean() / 2 / len(ordered))


def by_field(field: str) -> Matching:
    """Items match whose metadata have the same in ``field``: a text, a number, or one entry of a list in common."""

    def names(item: Item) -> list[str]:
        value: Any = item.metadata.get(field)
        entries = value if isinstance(value, list) else [value]
        return [f"{type(entry).__name__}:{entry}" for entry in entries if entry is not None]

    return names


def _measure(
    queries: Sequence[Point], targets: Sequence[Point], matching: Matching | None, rng: random.Random
) -> Measured:
    names = matching or (lambda _: ())
    query_names = [frozenset(names(point.item)) for point in queries]
    target_names = query_names if queries is targets else [frozenset(names(point.item)) for point in targets]
    unrelated = [
        (place, other)
        for place, other in ((rng.randrange(len(queries)), rng.randrange(len(targets))) for _ in range(_BACKGROUND))
        if not _is_same(queries[place], targets[other]) and not query_names[place] & target_names[other]
    ]
    if len(unrelated) < _LEAST_UNRELATED:
        raise ConfigurationError(
            "nearly all items match by what they are said to match by: nothing is left to compare with"
        )
    others = _cosines(queries, targets, unrelated)
    mean, std = float(others.mean()), max(float(others.std()), _LEAST_STD)
    pairs = [
        pair
        for pair in _matching_pairs(query_names, target_names, rng)
        if not _is_same(queries[pair[0]], targets[pair[1]])
    ]
    area: float | None = None
    if len(pairs) >= LEAST_MATCHES:
        matches = _cosines(queries, targets, pairs)
        midpoint, slope = fit_logistic(matches, others)
        area = auroc(matches, others)
        if area >= LEAST_AUROC and slope > 0 and -1 <= midpoint <= 1:
            return Measured(PairStatistics(midpoint, slope, mean, std), len(matches), len(others), area, fitted=True)
    midpoint = min(1.0, mean + _MIDPOINT_STDS * std)
    statistics = PairStatistics(midpoint, _SLOPE_PER_STD / std, mean, std)
    return Measured(statistics, len(pairs), len(others), area, fitted=False)


def _is_same(first: Point, second: Point) -> bool:
    return first.item.modality is second.item.modality and first.item.content_hash == second.item.content_hash


def _matching_pairs(
    queries: Sequence[frozenset[str]], targets: Sequence[frozenset[str]], rng: random.Random
) -> list[tuple[int, int]]:
    """Places of pairs with a name in common, at most ``_MATCHES_EACH`` for each query."""
    groups: dict[str, list[int]] = {}
    for place, names in enumerate(targets):
        for name in names:
            groups.setdefault(name, []).append(place)
    pairs = []
    for place, names in enumerate(queries):
        group = (
            groups.get(min(names), [])
            if len(names) == 1
            else sorted({o for name in names for o in groups.get(name, ())})
        )
        pairs += [(place, other) for other in rng.sample(group, min(_MATCHES_EACH, len(group)))]
    return pairs


def _cosines(queries: Sequence[Point], targets: Sequence[Point], pairs: Sequence[tuple[int, int]]) -> Floats:
    first, second = (np.asarray([point.embedding for point in points]) for points in (queries, targets))
    places = np.asarray(pairs)
    cosines: Floats = np.einsum("nd,nd->n", first[places[:, 0]], second[places[:, 1]]).astype(np.float64)
    return cosines
