"""From a query to its hits: candidates of each modality, put in one order, cut to the window that was asked for."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from crossmodal.records import Contribution, Hit, Modality, Partition, ScoredItem
from crossmodal.search.diversity import diversify
from crossmodal.search.fusion import Aim, Part
from crossmodal.search.relevance import WEAK_BELOW, Calibration, Calibrations, logistic
from crossmodal.store.base import VectorStore
from crossmodal.store.filters import Filter
from crossmodal.telemetry import stage

POOL = 500
"""Answers that are not in the order of one search are ordered among this many of the best, whatever the page, so that
pages are slices of one order. What lies beyond follows as the search found it."""

DEEPEST = 16_384
"""So far the window of a search with something unwanted is looked for, where few of the nearest are relevant."""

FEW = 64
"""So many candidates are ordered, or compared part by part, in the event loop; more take milliseconds, beside it."""

Beside = Callable[..., Awaitable[Any]]
"""Runs a function of some arguments where it keeps nobody waiting."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A candidate. ``logit`` orders candidates of all modalities: above 0 a match is likelier than not.

    ``wanted`` is the logit without the penalties, by which a store's search orders.
    """

    scored: ScoredItem
    logit: float
    wanted: float
    contributions: tuple[Contribution, ...] = ()


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
            _Search(self._store, Partition(tenant, target), parts, calibration, window, without_contents, self._beside)
            for target in targets
        ]
        with stage("store"):
            if len(searches) == 1 and searches[0].is_plain:
                return _hits(_relevant(await searches[0].page(), window))
            lists = await asyncio.gather(*(search.best() for search in searches))
        by_cosine = len(searches) == 1 and not searches[0].has_unwanted
        if window.diversity or sum(len(found) for parts in lists for found in parts) > FEW:
            return await self._beside(_ordered, lists, window, by_cosine)
        return _ordered(lists, window, by_cosine)

    async def _beside(self, work: Callable[..., T], *arguments: object) -> T:
        """Compute beside the event loop, for everybody one after the other: several threads would only take turns."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class _Search:
    """The search of one collection."""

    def __init__(
        self,
        store: VectorStore,
        partition: Partition,
        parts: Sequence[Part],
        calibration: Calibration,
        window: Window,
        without_contents: Collection[str],
        beside: Beside,
    ) -> None:
        self._beside = beside
        self._store = store
        self._partition = partition
        self._aim = Aim(parts, partition.modality, calibration)
        self._window = window
        self._without_contents = without_contents
        self._with_embeddings = bool(window.diversity or window.explain)

    @property
    def is_plain(self) -> bool:
        """Whether the store's own order is the answer's."""
        return not self._aim.has_unwanted and not self._window.diversity

    @property
    def has_unwanted(self) -> bool:
        """Whether penalties change the store's order."""
        return self._aim.has_unwanted

    async def page(self) -> list[_Found]:
        """The window of the store's order."""
        return await self._read(await self._nearest(limit=self._window.n_results, offset=self._window.offset))

    async def best(self) -> tuple[list[_Found], list[_Found]]:
        """Those to be ordered by logit, the same for every window, and those that follow them as far as it reaches."""
        if self.is_plain:
            return await self._read(await self._nearest(limit=self._window.end)), []
        limit = max(self._window.end, POOL)
        if not self._aim.has_unwanted:
            return await self._read(await self._nearest(limit=limit)), []
        while True:
            scored = await self._nearest(limit=limit)
            is_last = len(scored) < limit or limit >= DEEPEST or not self._may_go_on(scored[-1])
            pool, rest = await self._best_of(scored)
            if is_last or sum(len(_relevant(each, self._window)) for each in (pool, rest)) >= self._window.end:
                return pool, rest
            limit = min(2 * limit, DEEPEST)

    def _may_go_on(self, furthest: ScoredItem) -> bool:
        """Whether the window may reach past ``furthest``: penalties make some irrelevant that are nearer than others which are not."""
        least = self._window.min_relevance
        return least > 0 and logistic(self._aim.wanted_logit(furthest.score)) >= least

    async def _best_of(self, scored: list[ScoredItem]) -> tuple[list[_Found], list[_Found]]:
        """Of the nearest, those among which penalties change the order, with those that avoid what is unwanted, and the others."""
        pool = {each.item.id for each in scored[:POOL]}
        known = {each.item.id for each in scored}
        if len(scored) >= POOL:  # else these are all that there are
            for each in await self._nearest(limit=POOL, avoiding=True):
                pool.add(each.item.id)
                if each.item.id not in known:
                    scored.append(each)
        scored, unlike = await self._compared(scored, known)
        found = await self._read(scored, unlike)
        return (
            [each for each in found if each.scored.item.id in pool],
            [each for each in found if each.scored.item.id not in pool],
        )

    async def _nearest(self, *, limit: int, offset: int = 0, avoiding: bool = False) -> list[ScoredItem]:
        return await self._store.search(
            self._partition,
            self._aim.avoiding() if avoiding else self._aim.direction,
            limit=limit,
            offset=offset,
            where=self._window.where,
            without_contents=self._without_contents,
            with_embeddings=self._with_embeddings,
            exact=self._window.exact,
        )

    async def _compared(
        self, scored: Sequence[ScoredItem], known: Collection[str]
    ) -> tuple[list[ScoredItem], Sequence[Sequence[float]]]:
        """All of ``scored`` that are still there, with their cosines with ``direction``, and those with what is unwanted.

        ``known`` are the ids of those that have the first already.
        """
        ids = [each.item.id for each in scored]
        missing = [self._aim.direction] if len(ids) > len(known) else []
        cosines = await self._store.cosines(self._partition, ids, [*missing, *self._aim.unwanted])
        rows = [
            (each if each.item.id in known else replace(each, score=row[0]), row[len(missing) :])
            for each, row in zip(scored, cosines.tolist(), strict=True)
            if not math.isnan(row[0])
        ]
        return [each for each, _ in rows], [unlike for _, unlike in rows]

    async def _read(
        self, scored: Sequence[ScoredItem], unlike: Sequence[Sequence[float]] | None = None
    ) -> list[_Found]:
        unlike = unlike if unlike is not None else [()] * len(scored)
        if (self._with_embeddings or self._aim.has_unwanted) and len(scored) > FEW:
            found: list[_Found] = await self._beside(self._found, scored, unlike)
            return found
        return self._found(scored, unlike)

    def _found(self, scored: Sequence[ScoredItem], unlike: Sequence[Sequence[float]]) -> list[_Found]:
        return [self._one(each, cosines) for each, cosines in zip(scored, unlike, strict=True)]

    def _one(self, scored: ScoredItem, unlike: Sequence[float]) -> _Found:
        wanted = self._aim.wanted_logit(scored.score)
        logit = wanted - self._aim.penalty(unlike) if unlike else wanted
        if not self._window.explain or scored.embedding is None:
            return _Found(scored, logit, wanted)
        return _Found(scored, logit, wanted, self._aim.contributions(scored.embedding))


def _ordered(lists: Sequence[tuple[list[_Found], list[_Found]]], window: Window, by_cosine: bool) -> list[Hit]:  # noqa: FBT001 -- for a thread
    """The window of all that was found, in one order."""
    # What is not relevant goes before the window is cut: a page in the middle must not come out empty.
    pool = sorted(_relevant((each for found, _ in lists for each in found), window), key=_by_logit)
    rest = sorted(_relevant((each for _, found in lists for each in found), window), key=_by_what_is_wanted)
    if window.diversity:
        pool = _diverse(pool, window, by_cosine=by_cosine)
    return _hits((pool + rest)[window.offset : window.end])


def _diverse(found: Sequence[_Found], window: Window, *, by_cosine: bool) -> list[_Found]:
    """The first ``POOL`` in an order that prefers unlike ones, and the others after them.

    Likeness there is a cosine, mostly 0 to 1, so merit is the cosine as well, or else the logit brought to that range.
    """
    pool, rest = list(found[:POOL]), list(found[POOL:])
    logits = [each.logit for each in pool] or [0.0]
    lowest, spread = min(logits), (max(logits) - min(logits)) or 1.0
    candidates = [
        ScoredItem(
            each.scored.item, each.scored.score if by_cosine else (each.logit - lowest) / spread, each.scored.embedding
        )
        for each in pool
    ]
    chosen = diversify(candidates, count=window.end, diversity=window.diversity)
    return [pool[place] for place in chosen] + rest


def _relevant(found: Iterable[_Found], window: Window) -> list[_Found]:
    return [each for each in found if logistic(each.logit) >= window.min_relevance]


def _hits(found: Sequence[_Found]) -> list[Hit]:
    return [_hit(each) for each in found]


def _hit(found: _Found) -> Hit:
    relevance = logistic(found.logit)
    return Hit(found.scored.item, found.scored.score, relevance, relevance < WEAK_BELOW, found.contributions)


def _by_logit(found: _Found) -> tuple[float, str, str]:
    return -found.logit, found.scored.item.modality, found.scored.item.id


def _by_what_is_wanted(found: _Found) -> tuple[float, str, str]:
    return -found.wanted, found.scored.item.modality, found.scored.item.id
