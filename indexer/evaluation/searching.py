"""Queries through a vector store, judged."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossmodal.records import Embedding, Modality, Partition, ScoredItem
from crossmodal.search.metrics import Judged, judge
from crossmodal.store.base import VectorStore
from indexer.evaluation.embedding import chunks
from indexer.evaluation.results import KS

AT_ONCE = 8
"""Searches under way at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A query as the store gets it, and how relevant which ids are, each above 0.

    ``without_content`` is the hash of the query's own picture where pictures are searched: it is never its own answer.
    """

    embedding: Embedding
    target: Modality
    grades: Mapping[str, float]
    without_content: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A judged answer, and for each of KS the share of the exactly best k items that were among the k found."""

    judged: Judged
    overlap: Sequence[float] = ()


async def search_all(
    store: VectorStore, tenant: str, asked: Sequence[Asked], *, depth: int, compare: bool
) -> list[Found]:
    """Search for each query and judge its best ``depth`` items; with ``compare`` search exactly too.

    Raises ``StoreUnavailable``.
    """

    async def one(query: Asked, *, exact: bool) -> list[ScoredItem]:
        return await store.search(
            Partition(tenant, query.target),
            query.embedding,
            limit=depth,
            without_contents=() if query.without_content is None else (query.without_content,),
            exact=exact,
        )

    async def both(query: Asked) -> Found:
        usual = await one(query, exact=False)
        return Found(_judge(usual, query), overlaps(usual, await one(query, exact=True)) if compare else ())

    found: list[Found] = []
    for some in chunks(asked, AT_ONCE):
        found += await asyncio.gather(*map(both, some))
    return found


def _judge(hits: Sequence[ScoredItem], query: Asked) -> Judged:
    scores = np.array([hit.score for hit in hits], np.float64)
    gains = np.array([query.grades.get(hit.item.id, 0.0) for hit in hits], np.float64)
    return judge(scores, gains, np.array(list(query.grades.values()), np.float64))


def overlaps(usual: Sequence[ScoredItem], exact: Sequence[ScoredItem]) -> list[float]:
    """For each of KS the share, 0 to 1, of the exactly best k that ``usual`` has among its k; 1 where there are none."""
    shares = []
    for k in KS:
        best = {hit.item.id for hit in exact[:k]}
        shares.append(len(best & {hit.item.id for hit in usual[:k]}) / len(best) if best else 1.0)
    return shares
