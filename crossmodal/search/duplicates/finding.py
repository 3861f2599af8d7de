"""The use case: read a partition, compare what it holds, answer groups."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import Overloaded, Shed
from crossmodal.imaging import is_signature
from crossmodal.metering import charge
from crossmodal.records import Partition
from crossmodal.search.duplicates.appearance import Looks
from crossmodal.search.duplicates.grouping import grouped
from crossmodal.search.duplicates.looks import Lookalikes
from crossmodal.search.duplicates.pairs import Floats, Near, Places, find_near
from crossmodal.search.duplicates.wanted import Evidence, Found, Group, Method, Wanted
from crossmodal.search.relevance import Calibrations
from crossmodal.store.base import VectorStore
from crossmodal.telemetry import stage

EMBEDDING_AT_LEAST: Final = 0.95
"""Cosine of near copies by embedding alone, unless the model's own pictures of one thing come closer than that."""
ITEMS_A_UNIT: Final = 100
"""Items examined for one unit of work: reading one takes some 50 microseconds, embedding one some 30 milliseconds."""

_BETWEEN = 0.8
_CROP_SLACK = 0.1
_PAGE = 256
_MAX_WAITING = 8
_MAX_SCORED = 2048
_END = object()


@dataclass(slots=True, eq=False)
class _Held:
    """What was read. ``nodes`` are the different contents, each with the places of its items in ``ids``."""

    ids: list[str] = field(default_factory=list)
    nodes: dict[str, list[int]] = field(default_factory=dict)
    signatures: list[bytes] = field(default_factory=list)
    halves: list[NDArray[np.float16]] = field(default_factory=list)
    embeddings: NDArray[np.float16] = field(default_factory=lambda: np.empty((0, 0), np.float16))
    cut: bool = False

    def rows(self, places: Places) -> Floats:
        """Embeddings, float32 [m, dim], of the nodes at ``places``."""
        return self.embeddings[places].astype(np.float32)


class Duplicates:
    """One instance serves all requests of a process, one at a time: each may hold ``max_items`` embeddings.

    The rule of ``Method.ALL`` without a threshold: two items of equal content are the same; two pictures are the same if
    they look so, as ``looks`` says; where a look is not known (texts, pictures indexed before there were signatures) the
    cosine decides. With a threshold, equal content or the cosine decides. Embeddings alone do not tell a copy from a
    picture of the same things, which is what a model is trained to overlook.
    """

    def __init__(self, calibrations: Calibrations, store: VectorStore, *, max_items: int) -> None:
        self._calibrations = calibrations
        self._store = store
        self._max_items = max_items
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def find(self, tenant: str, wanted: Wanted) -> Found:
        """Groups among the tenant's items. Raises ``Overloaded``, ``ModelUnavailable``, ``StoreUnavailable``."""
        if self._waiting >= _MAX_WAITING:
            raise Overloaded(
                f"{self._waiting} searches for duplicates wait already, which is the limit",
                retry_after=10,
                shed=Shed.DUPLICATES,
            )
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._find(tenant, wanted)
        finally:
            self._turn.release()

    async def _find(self, tenant: str, wanted: Wanted) -> Found:
        calibration = await self._calibrations.now()
        with stage("store"):
            held = await self._read(Partition(tenant, wanted.modality), wanted)
        charge(items=-(-len(held.ids) // ITEMS_A_UNIT))
        comparison = _Comparison(held, wanted, calibration.midpoint(wanted.modality, wanted.modality))
        with stage("compare"):
            steps = comparison.steps()
            while await asyncio.to_thread(next, steps, _END) is not _END:
                pass
        return comparison.found()

    async def _read(self, partition: Partition, wanted: Wanted) -> _Held:
        held, cursor = _Held(), None
        with_embeddings = wanted.method is not Method.EXACT
        while True:
            room = min(_PAGE, self._max_items - len(held.ids))
            page = await self._store.scroll(
                partition, limit=room, cursor=cursor, where=wanted.where, with_embeddings=with_embeddings
            )
            fresh = []
            for row, item in enumerate(page.items):
                if item.content_hash not in held.nodes:
                    held.nodes[item.content_hash] = []
                    held.signatures.append(item.signature)
                    fresh.append(row)
                held.nodes[item.content_hash].append(len(held.ids))
                held.ids.append(item.id)
            if page.embeddings is not None and fresh:
                held.halves.append(page.embeddings[fresh].astype(np.float16))
            cursor = page.next_cursor
            if cursor is None or len(held.ids) >= self._max_items:
                break
        held.cut = cursor is not None
        if held.halves:
            held.embeddings = np.concatenate(held.halves)
            held.halves.clear()
        return held


@dataclass(frozen=True, slots=True)
class _Edge:
    left: int
    right: int
    score: float
    kind: Evidence


class _Comparison:
    """One search over what was read: ``steps`` first, then ``found``."""

    def __init__(self, held: _Held, wanted: Wanted, midpoint: float) -> None:
        self._held = held
        self._wanted = wanted
        self._midpoint = midpoint
        self._members = list(held.nodes.values())
        self._edges: list[_Edge] = []
        self._groups: list[Group] = []
        self._cut = held.cut

    def steps(self) -> Iterator[None]:
        """Do the work, some 50 ms at a time."""
        yield from self._look_for_pairs()
        self._edges.sort(key=lambda edge: (-edge.score, edge.left, edge.right))
        linked = grouped([(edge.left, edge.right) for edge in self._edges], self._wanted.linkage)
        by_pair = {(edge.left, edge.right): edge for edge in self._edges}
        node_group = {node: number for number, nodes in enumerate(linked) for node in nodes}
        edges: list[list[_Edge]] = [[] for _ in linked]
        for edge in by_pair.values():
            number = node_group.get(edge.left)
            if number is not None and number == node_group.get(edge.right):
                edges[number].append(edge)
        yield
        for nodes, within in zip(linked, edges, strict=True):
            self._groups.append(self._group(nodes, within))
            yield
        alone = [node for node, places in enumerate(self._members) if len(places) > 1 and node not in node_group]
        self._groups += [self._group([node], []) for node in alone]
        self._groups.sort(key=lambda group: (-group.max_score, group.ids))

    def found(self) -> Found:
        """The answer."""
        limit = self._wanted.limit
        cut = self._cut or len(self._groups) > limit
        return Found(self._groups[:limit], len(self._held.ids), cut)

    def _look_for_pairs(self) -> Iterator[None]:
        method, threshold = self._wanted.method, self._wanted.threshold
        every = np.arange(len(self._members))
        if method is Method.EXACT or len(every) < 2:  # noqa: PLR2004 -- a pair
            return
        if method is Method.EMBEDDING or (method is Method.ALL and threshold is not None):
            yield from self._by_embedding(every, None)
            return
        known = np.array([is_signature(signature) for signature in self._held.signatures], bool)
        places = every[known]
        if len(places):
            yield from self._by_look(places)
        if method is Method.ALL and len(places) < len(every):
            yield from self._by_embedding(every, known)

    def _by_look(self, places: Places) -> Iterator[None]:
        looks = Looks([self._held.signatures[place] for place in places])
        threshold = self._wanted.threshold if self._wanted.method is Method.PERCEPTUAL else None
        alike = Lookalikes(looks, threshold)
        yield from alike.steps(lambda rows: self._held.rows(places[rows]), self._midpoint - _CROP_SLACK)
        self._add(alike.near, Evidence.PERCEPTUAL, places)

    def _by_embedding(self, every: Places, known: NDArray[np.bool_] | None) -> Iterator[None]:
        """Pairs by cosine; those of which both looks are ``known`` are left out."""
        near, floor = Near(), self._wanted.threshold
        if floor is None:
            floor = max(EMBEDDING_AT_LEAST, self._midpoint + _BETWEEN * (1 - self._midpoint))
        yield from find_near(len(every), self._held.rows, floor, near)
        self._add(near, Evidence.EMBEDDING, every, known)

    def _add(self, near: Near, kind: Evidence, places: Places, known: NDArray[np.bool_] | None = None) -> None:
        self._cut |= near.cut
        left, right, scores = near.pairs()
        left, right = places[left], places[right]
        if known is not None:
            open_ = ~(known[left] & known[right])
            left, right, scores = left[open_], right[open_], scores[open_]
        columns = zip(left.tolist(), right.tolist(), scores.tolist(), strict=True)
        self._edges += [_Edge(one, other, min(1.0, score), kind) for one, other, score in columns]

    def _group(self, nodes: Sequence[int], edges: Sequence[_Edge]) -> Group:
        members = [self._members[node] for node in nodes]
        kinds = {edge.kind for edge in edges}
        scores = self._scores(nodes, edges)
        if any(len(places) > 1 for places in members):
            kinds.add(Evidence.EXACT)
            scores = [*scores, 1.0]
        ids = sorted(self._held.ids[place] for places in members for place in places)
        return Group(ids, max(scores), min(scores), [kind for kind in Evidence if kind in kinds])

    def _scores(self, nodes: Sequence[int], edges: Sequence[_Edge]) -> list[float]:
        """Scores of the group's pairs: cosines of every two, or where looks alone count the correlations that joined it."""
        if self._wanted.method is Method.PERCEPTUAL or len(nodes) > _MAX_SCORED:
            return [edge.score for edge in edges]
        if len(nodes) < 2:  # noqa: PLR2004 -- a pair
            return []
        rows = self._held.rows(np.array(nodes, np.intp))
        cosines = np.clip((rows @ rows.T)[np.triu_indices(len(nodes), 1)], -1, 1)
        return [float(cosines.max()), float(cosines.min())]
