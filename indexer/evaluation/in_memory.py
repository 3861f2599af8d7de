"""Every picture against every caption, in memory: no store, no index, nothing approximate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossmodal.search.metrics import Judged, judge
from indexer.evaluation.embedding import Embedded
from indexer.evaluation.results import Direction, Scores

MAX_CELLS = 8_000_000
"""Cosines in memory at a time: 32 MB, and some copies."""

TEXT_TO_IMAGE = "text-to-image"
IMAGE_TO_TEXT = "image-to-text"


def rank_pairs(
    pictures: Embedded, captions: Embedded, owners: Sequence[int], *, cells: int = MAX_CELLS
) -> tuple[dict[str, Direction], Scores]:
    """Judge both directions of p pictures and c captions, all of them readable.

    ``owners`` [c] are the places of the captions' pictures. A caption must find its picture among all pictures, a picture
    any of its captions among all captions. Of the p times c cosines at most about ``cells`` are in memory at a time.
    """
    of = np.asarray(owners)
    scores = Scores()
    by_caption = _judge_all(captions, pictures, of, np.arange(len(pictures.places)), cells, scores)
    by_picture = _judge_all(pictures, captions, np.arange(len(pictures.places)), of, cells, None)
    directions = {
        # The captions of a picture are drawn together.
        TEXT_TO_IMAGE: Direction(by_caption, of.tolist(), searched=len(pictures.places)),
        IMAGE_TO_TEXT: Direction(by_picture, list(range(len(pictures.places))), searched=len(captions.places)),
    }
    return directions, scores


def _judge_all(
    queries: Embedded,
    items: Embedded,
    query_groups: NDArray[np.integer],
    item_groups: NDArray[np.integer],
    cells: int,
    scores: Scores | None,
) -> list[Judged]:
    """Judge each query over all items; what has its group is relevant."""
    found: list[Judged] = []
    rows = max(1, cells // len(items.places))
    wanted = queries.vectors[queries.places]
    for start in range(0, len(wanted), rows):
        # One product for each different item, handed to its copies: their scores are equal to the last bit.
        cosines = (wanted[start : start + rows] @ items.vectors.T)[:, items.places]
        matching = query_groups[start : start + rows, None] == item_groups
        if scores is not None:
            scores.add(cosines, matching)
        found += [judge(line, own.astype(np.float64)) for line, own in zip(cosines, matching, strict=True)]
    return found
