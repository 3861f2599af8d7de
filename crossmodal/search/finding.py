"""From a query to its hits: candidates of each modality, put in one order, cut to the window that was asked for.

Candidates are known by their stores' keys until the window is cut: to bring hundreds of items here whose places alone
matter takes ten times as long as to find them.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from crossmodal.records import Contribution, Embedding, Hit, Item, Modality, Partition, Point
from crossmodal.search.candidates import Candidates, Name
from crossmodal.search.diversity import diversify
from crossmodal.search.fusion import Aim, Part
from crossmodal.search.relevance import WEAK_BELOW, Calibrations, logistic
from crossmodal.store.base import Key, Ranked, VectorStore
from crossmodal.store.filters import Filter
from crossmodal.telemetry import stage

POOL = 500
"""Answers that are not in the order of one search are ordered among this many of the best, whatever the page, so that
pages are slices of one order. What lies beyond follows as the search found it."""

DEEPEST = 16_384
"""So far the window of a search with something unwanted is looked for, where few of the nearest are relevant."""

MANY = 2048
"""More candidates than this take milliseconds to be put in order, beside the event loop."""

T = TypeVar("T")

ANY = tuple(Modality)
"""The targets of a search for items of any modality."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which of the hits are wanted.

    ``n_results`` 1 to 1000 from ``offset`` on; only items that ``where`` admits; only hits of at least
    ``min_relevance`` (0 to 1); with ``diversity`` (0 to 1) above 0 unlike hits are preferred; ``exact`` compares every
    item where the store would otherwise ask an index that may miss some; with ``explain`` each hit says what each part of
    the query has to do with it.
    """

    n_results: int = 5
    offset: int = 0
    where: Filter | None = None
    min_relevance: float = 0.0
    diversity: float = 0.0
    exact: bool = False
    explain: bool = False

    @property
    def end(self) -> int:
        """How many of the best the window reaches to."""
        return self.offset + self.n_results


class Finder:
    """Finds items of the tenant it is told and of no other. Raises ``StoreUnavailable``."""

    def __init__(self, store: VectorStore, calibrations: Calibrations) -> None:
        self._store = store
        self._calibrations = calibrations
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="finder")

    async def find(
        self,
        tenant: str,
        parts: Sequence[Part],
        targets: Collection[Modality],
        window: Window,
        without_contents: Collection[str] = (),
    ) -> list[Hit]:
        """Items that answer all ``parts`` together, best first; ``without_contents`` are content hashes left out.

        Raises ``ValidationFailed`` for parts that look for nothing.
        """
        calibration = await self._calibrations.now()
        searches = [
            _Search(self._store, Partition(tenant, target), Aim(parts, target, calibration), window, without_contents)
            for target in targets
        ]
        with stage("store"):
            if len(searches) == 1 and not searches[0].aim.has_unwanted and not window.diversity:
                return await searches[0].page()
            found = Candidates.together(await asyncio.gather(*(search.candidates() for search in searches)))
            sort = partial(_sorted, found, window.min_relevance)
            order = sort() if len(found) <= MANY else await self._beside(sort)
            if window.diversity:
                by_cosine = len(searches) == 1 and not searches[0].aim.has_unwanted
                order = await self._diverse(order, window, by_cosine=by_cosine)
            return await self._hits(order, window, {search.partition: search.aim for search in searches})

    async def _beside(self, work: Callable[[], T]) -> T:
        """Compute beside the event loop, for everybody one after the other: several threads would only take turns."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _diverse(self, order: Candidates, window: Window, *, by_cosine: bool) -> Candidates:
        """The first ``POOL`` in an order that prefers unlike ones, and the others after them.

        Likeness there is a cosine, mostly 0 to 1, so merit is the cosine as well, or else the logit brought to that range.
        """
        points = await self._take(order.names[:POOL], with_embeddings=True)
        there = [place for place, point in enumerate(points) if point is not None]
        if not there:
            return order
        pool = order.at(there)
        merits = pool.scores if by_cosine else pool.logits - pool.logits.min()
        if not by_cosine:
            merits /= merits.max() or 1.0
        embeddings = np.stack([point.embedding for point in points if point is not None])
        choose = partial(diversify, merits, embeddings, count=window.end, diversity=window.diversity)
        chosen = await self._beside(choose)
        return order.at([*(there[place] for place in chosen), *range(len(points), len(order))])

    async def _hits(self, order: Candidates, window: Window, aims: Mapping[Partition, Aim]) -> list[Hit]:
        """The window of ``order``. Of equal ones the first by id come first, unless it is their being unlike that counts."""
        while True:
            whole = slice(window.offset, min(window.end, len(order)))
            shown = whole if window.diversity else order.run(whole)
            points = await self._take(order.names[shown], with_embeddings=window.explain)
            gone = {place for place, point in enumerate(points, shown.start) if point is None}
            if not gone:
                break
            order = order.at([place for place in range(len(order)) if place not in gone])  # deleted meanwhile
        places = range(shown.start, shown.stop)
        found = [(place, point) for place, point in zip(places, points, strict=True) if point is not None]
        if not window.diversity:
            found.sort(key=lambda each: (order.rank(each[0]), each[1].item.modality, each[1].item.id))
        return [
            _hit(
                point.item,
                float(order.scores[place]),
                float(order.logits[place]),
                aims[order.names[place].partition].contributions(point.embedding) if window.explain else (),
            )
            for place, point in found[whole.start - shown.start :][: len(range(whole.start, whole.stop))]
        ]

    async def _take(self, names: Sequence[Name], *, with_embeddings: bool) -> list[Point | None]:
        """The items of these names, in their order, None for one that is gone."""
        places: dict[Partition, list[int]] = {}
        for place, (partition, _) in enumerate(names):
            places.setdefault(partition, []).append(place)
        taken = await asyncio.gather(
            *(
                self._store.take(partition, [names[place][1] for place in own], with_embeddings=with_embeddings)
                for partition, own in places.items()
            )
        )
        points: list[Point | None] = [None] * len(names)
        for own, answers in zip(places.values(), taken, strict=True):
            for place, point in zip(own, answers, strict=True):
                points[place] = point
        return points


class _Search:
    """The search of one collection."""

    def __init__(
        self,
        store: VectorStore,
        partition: Partition,
        aim: Aim,
        window: Window,
        without_contents: Collection[str],
    ) -> None:
        self.partition = partition
        self.aim = aim
        self._store = store
        self._window = window
        self._without_contents = without_contents

    @property
    def _compared(self) -> int:
        """How many hits the window depends on: diversity compares ``POOL`` of them with each other, whatever the page."""
        return max(self._window.end, POOL) if self._window.diversity else self._window.end

    async def page(self) -> list[Hit]:
        """The window of the store's own order."""
        scored = await self._store.search(
            self.partition,
            self.aim.direction,
            limit=self._window.n_results,
            offset=self._window.offset,
            where=self._window.where,
            without_contents=self._without_contents,
            with_embeddings=self._window.explain,
            exact=self._window.exact,
        )
        logits = self.aim.wanted_logits(np.array([each.score for each in scored]))
        hits = [
            _hit(
                each.item,
                each.score,
                logit,
                () if each.embedding is None else self.aim.contributions(each.embedding),
            )
            for each, logit in zip(scored, logits.tolist(), strict=True)
        ]
        return [hit for hit in hits if hit.relevance >= self._window.min_relevance]

    async def candidates(self) -> Candidates:
        """Those to be ordered by logit, the same for every window, and those that follow them as far as it reaches."""
        if self.aim.has_unwanted:
            return await self._penalised()
        nearest = await self._rank(self.aim.direction, self._compared)
        names = [Name(self.partition, each.key) for each in nearest]
        scores = np.array([each.score for each in nearest], np.float64)
        wanted = self.aim.wanted_logits(scores)
        return Candidates(names, scores, wanted, wanted, np.ones(len(names), np.bool_))

    async def _penalised(self) -> Candidates:
        """The nearest, and those that avoid what is unwanted, among which penalties change the order; and what follows."""
        limit = max(self._window.end, POOL)
        nearest = await self._rank(self.aim.direction, limit)
        pool = {each.key for each in nearest if each.score >= nearest[min(POOL, len(nearest)) - 1].score}
        apart: dict[Key, float] = {}
        if len(nearest) >= POOL:  # else these are all that there are
            avoiding = {each.key for each in await self._rank(self.aim.avoiding(), POOL)}
            pool |= avoiding
            others = await self._cosines(avoiding.difference(each.key for each in nearest), [self.aim.direction])
            apart = {key: score for key, (score,) in others.items()}
        unlike: dict[Key, list[float]] = {}
        while True:
            scores = apart | {each.key: each.score for each in nearest}
            unlike |= await self._cosines(scores.keys() - unlike.keys(), self.aim.unwanted)
            found = self._weighed(scores, unlike, pool)
            is_last = len(nearest) < limit or limit >= DEEPEST or not self._may_go_on(nearest[-1])
            if is_last or len(found.relevant(self._window.min_relevance)) >= self._compared:
                return found
            limit = min(2 * limit, DEEPEST)
            nearest = await self._rank(self.aim.direction, limit)

    def _may_go_on(self, furthest: Ranked) -> bool:
        """Whether the window may reach past ``furthest``: penalties make some irrelevant that are nearer than others which are not."""
        least = self._window.min_relevance
        return least > 0 and logistic(float(self.aim.wanted_logits(np.array([furthest.score]))[0])) >= least

    def _weighed(
        self, scores: Mapping[Key, float], unlike: Mapping[Key, Sequence[float]], pool: Collection[Key]
    ) -> Candidates:
        """The items of ``scores``, cosines with what is wanted; those that ``unlike``, with what is not, lacks are gone."""
        keys = [key for key in scores if key in unlike]
        cosines = np.array([scores[key] for key in keys], np.float64)
        unwanted = np.array([unlike[key] for key in keys], np.float64).reshape(len(keys), len(self.aim.unwanted))
        wanted = self.aim.wanted_logits(cosines)
        return Candidates(
            [Name(self.partition, key) for key in keys],
            cosines,
            wanted - self.aim.penalties(unwanted),
            wanted,
            np.array([key in pool for key in keys], np.bool_),
        )

    async def _rank(self, direction: Embedding, limit: int) -> list[Ranked]:
        return await self._store.rank(
            self.partition,
            direction,
            limit=limit,
            where=self._window.where,
            without_contents=self._without_contents,
            exact=self._window.exact,
        )

    async def _cosines(self, keys: Collection[Key], queries: Sequence[Embedding]) -> dict[Key, list[float]]:
        """Cosines with ``queries`` of those of the items that are still there."""
        rows = await self._store.cosines(self.partition, [*keys], queries)
        return {key: row for key, row in zip(keys, rows.tolist(), strict=True) if not math.isnan(row[0])}


def _sorted(found: Candidates, least: float) -> Candidates:
    # What is not relevant goes before the window is cut: a page in the middle must not come out empty.
    return found.relevant(least).in_order()


def _hit(item: Item, score: float, logit: float, contributions: tuple[Contribution, ...]) -> Hit:
    relevance = logistic(logit)
    return Hit(item, score, relevance, relevance < WEAK_BELOW, contributions)
