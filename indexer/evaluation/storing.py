"""Pairs indexed into a store, and each item as a query for its partners there."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

from crossmodal.errors import ClientError, ConfigurationError, CrossModalError, DeadlineExceeded, StoreUnavailable
from crossmodal.records import Embedding, Modality, Partition
from crossmodal.search.indexing import Submission
from crossmodal.wiring import Container
from indexer.evaluation.embedding import chunks, progress, read_file
from indexer.evaluation.pairs import Pairs
from indexer.evaluation.searching import Asked

_CHUNK = 32
"""Whole files in memory at a time, and items that are written together."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Queries with the stored embeddings, in the order of what could be read, and why some pictures could not be."""

    by_picture: list[Asked]
    by_caption: list[Asked]
    faults: dict[int, CrossModalError]


async def index_pairs(container: Container, tenant: str, pairs: Pairs) -> Stored:
    """Index all under ids of their own, so that equal contents stay two items.

    Raises ``ConfigurationError`` if a caption is refused, and the errors of model and store.
    """
    faults = await _index_pictures(container, tenant, pairs.pictures)
    captions = [place for place, owner in enumerate(pairs.owners) if owner not in faults]
    await _index_captions(container, tenant, pairs, captions)
    pictures = [place for place in range(len(pairs.pictures)) if place not in faults]
    image_ids, text_ids = [f"p{place}" for place in pictures], [f"c{place}" for place in captions]
    of_picture: dict[str, dict[str, float]] = {item: {} for item in image_ids}
    for place in captions:
        of_picture[f"p{pairs.owners[place]}"][f"c{place}"] = 1.0
    by_picture = await _stored(container, Partition(tenant, Modality.IMAGE), image_ids)
    by_caption = await _stored(container, Partition(tenant, Modality.TEXT), text_ids)
    return Stored(
        [Asked(vector, Modality.TEXT, of_picture[item]) for item, vector in zip(image_ids, by_picture, strict=True)],
        [
            Asked(vector, Modality.IMAGE, {f"p{pairs.owners[place]}": 1.0})
            for place, vector in zip(captions, by_caption, strict=True)
        ],
        faults,
    )


async def _index_pictures(container: Container, tenant: str, files: Sequence[Path]) -> dict[int, CrossModalError]:
    faults: dict[int, CrossModalError] = {}
    most = container.settings.max_image_bytes

    def submit(place: int, file: Path) -> Submission:
        try:
            return Submission(read_file(file, most), f"p{place}")
        except ClientError as fault:
            return Submission(id=f"p{place}", fault=fault)

    with progress(len(files), " pictures") as bar:
        for some in chunks(list(enumerate(files)), _CHUNK):
            submissions = await asyncio.to_thread(list, starmap(submit, some))
            for (place, _), result in zip(
                some, await container.indexing.index_images(tenant, submissions), strict=True
            ):
                if isinstance(result.error, ClientError | DeadlineExceeded):
                    faults[place] = result.error
                elif result.error is not None:
                    raise result.error
            bar.update(len(some))
    return faults


async def _index_captions(container: Container, tenant: str, pairs: Pairs, places: Sequence[int]) -> None:
    with progress(len(places), " texts") as bar:
        for some in chunks(places, 4 * _CHUNK):
            submissions = [Submission(pairs.captions[place].encode(), f"c{place}") for place in some]
            for result in await container.indexing.index_texts(tenant, submissions):
                if result.error is not None:
                    raise ConfigurationError(f"a caption cannot be indexed: {result.error.detail}")
            bar.update(len(some))


async def _stored(container: Container, partition: Partition, ids: Sequence[str]) -> list[Embedding]:
    vectors: list[Embedding] = []
    for some in chunks(ids, 4 * _CHUNK):
        for point in await container.store.fetch(partition, some, with_embeddings=True):
            if point is None:
                raise StoreUnavailable("the store does not have what was just written")
            vectors.append(point.embedding)
    return vectors
