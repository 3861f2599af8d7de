"""The three ways to measure: pairs in memory, pairs through a store of their own, labelled queries in the collection."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossmodal.errors import ConfigurationError, CrossModalError
from crossmodal.records import Modality, Partition
from crossmodal.search.metrics import recall_at, success_at
from crossmodal.wiring import Container
from indexer.evaluation.embedding import chunks, embed_pictures, embed_texts
from indexer.evaluation.in_memory import rank_pairs
from indexer.evaluation.pairs import Pairs
from indexer.evaluation.queries import LabelledQuery
from indexer.evaluation.results import KS, Direction, Measured, pair_metrics, query_metrics
from indexer.evaluation.searching import Asked, Found, search_all
from indexer.evaluation.storing import index_pairs

_FETCHED = 500
"""Ids looked up at a time."""


async def measure_pairs(container: Container, pairs: Pairs) -> Measured:
    """Compare all pictures with all captions in memory. Raises ``ConfigurationError`` if no picture can be read."""
    pictures = await embed_pictures(container, pairs.pictures)
    readable = _readable(pairs, pictures.faults)
    captions = await embed_texts(container, readable.captions)
    directions, scores = rank_pairs(pictures.readable(), captions, readable.owners)
    return Measured(
        how="every picture compared with every caption, in memory",
        directions=directions,
        metrics=pair_metrics(),
        curve=success_at,
        counts=_counted(pairs, readable)
        | {
            "repeated_pictures": len(readable.pictures) - len(pictures.vectors),
            "truncated_captions": captions.truncated,
        },
        unreadable=_named(pairs.pictures, pictures.faults),
        scores=scores,
    )


async def measure_through_store(container: Container, pairs: Pairs, *, tenant: str, depth: int) -> Measured:
    """Index pictures and captions, and search for each with its stored embedding, as the service does by id.

    The container's store must be empty. Raises ``ConfigurationError`` if no picture can be read.
    """
    stored = await index_pairs(container, tenant, pairs)
    readable = _readable(pairs, stored.faults)
    found_by_text = await search_all(container.store, tenant, stored.by_caption, depth=depth, compare=False)
    found_by_image = await search_all(container.store, tenant, stored.by_picture, depth=depth, compare=False)
    directions = {
        "text-to-image": _direction(found_by_text, readable.owners, len(readable.pictures), depth),
        "image-to-text": _direction(found_by_image, list(range(len(readable.pictures))), len(readable.captions), depth),
    }
    return Measured(
        how=f"indexed into an empty store ({container.store.name}) and searched there, best {depth} of each",
        directions=directions,
        metrics=pair_metrics(),
        curve=success_at,
        counts=_counted(pairs, readable),
        unreadable=_named(pairs.pictures, stored.faults),
    )


async def measure_queries(
    container: Container, queries: Sequence[LabelledQuery], *, tenant: str, depth: int
) -> Measured:
    """Search for labelled queries in the collection, as the store does it and exactly.

    A query whose picture cannot be read is left out; what is relevant but not indexed counts as not found. Raises
    ``ConfigurationError`` if nothing is left.
    """
    asked, faults = await _asked(container, queries)
    if not asked:
        raise ConfigurationError("none of the queries' pictures can be read")
    directions: dict[str, Direction] = {}
    for name in sorted({queries[place].direction for place in asked}, reverse=True):
        own = [query for place, query in asked.items() if queries[place].direction == name]
        found = await search_all(container.store, tenant, own, depth=depth, compare=True)
        searched = await container.store.count(Partition(tenant, own[0].target))
        extra = {f"overlap@{k}": [each.overlap[place] for each in found] for place, k in enumerate(KS)}
        directions[name] = _direction(found, list(range(len(own))), searched, depth, extra)
    return Measured(
        how=f"searched in the collection of the tenant {tenant} ({container.store.name}), best {depth} of each",
        directions=directions,
        metrics=query_metrics(),
        curve=recall_at,
        counts={"queries": len(queries), "queries_measured": len(asked)},
        unreadable=_named([each.content for each in queries], faults),
        unknown=await _not_indexed(container, queries, tenant),
    )


async def _asked(
    container: Container, queries: Sequence[LabelledQuery]
) -> tuple[dict[int, Asked], dict[int, CrossModalError]]:
    """What to ask the store by the place of the query, and why some cannot be asked."""
    by_text = {place: each.content for place, each in enumerate(queries) if isinstance(each.content, str)}
    by_file = {place: each.content for place, each in enumerate(queries) if isinstance(each.content, Path)}
    texts = await embed_texts(container, list(by_text.values()))
    pictures = await embed_pictures(container, list(by_file.values()))
    asked: dict[int, Asked] = {}
    for place, row in zip(by_text, texts.places, strict=True):
        asked[place] = Asked(texts.vectors[row], queries[place].target, queries[place].grades)
    for place, row in zip(by_file, pictures.places, strict=True):
        if row >= 0:
            own = pictures.hashes[row] if queries[place].target is Modality.IMAGE else None
            asked[place] = Asked(pictures.vectors[row], queries[place].target, queries[place].grades, own)
    faults = dict(zip(by_file, range(len(by_file)), strict=True))
    return asked, {place: pictures.faults[n] for place, n in faults.items() if n in pictures.faults}


async def _not_indexed(container: Container, queries: Sequence[LabelledQuery], tenant: str) -> list[str]:
    missing: list[str] = []
    for modality in Modality:
        ids = list(dict.fromkeys(item for query in queries if query.target is modality for item in query.grades))
        for some in chunks(ids, _FETCHED):
            points = await container.store.fetch(Partition(tenant, modality), some)
            missing += [f"{modality} {item}" for item, point in zip(some, points, strict=True) if point is None]
    return missing


def _readable(pairs: Pairs, faults: Mapping[int, CrossModalError]) -> Pairs:
    if len(faults) == len(pairs.pictures):
        first = f"{pairs.pictures[0].name}: {faults[0].detail}"
        raise ConfigurationError(f"none of the {len(pairs.pictures)} pictures can be read; the first is {first}")
    return pairs.without(faults.keys())


def _direction(
    found: Sequence[Found],
    clusters: Sequence[int],
    searched: int,
    depth: int,
    extra: Mapping[str, Sequence[float]] | None = None,
) -> Direction:
    return Direction([each.judged for each in found], clusters, searched, depth, extra or {})


def _counted(given: Pairs, measured: Pairs) -> dict[str, int]:
    return {
        "pictures": len(given.pictures),
        "pictures_measured": len(measured.pictures),
        "captions": len(given.captions),
        "captions_measured": len(measured.captions),
        "shared_captions": measured.shared_captions,
    }


def _named(files: Sequence[object], faults: Mapping[int, CrossModalError]) -> list[tuple[str, str]]:
    return [(str(files[place]), faults[place].detail) for place in sorted(faults)]
