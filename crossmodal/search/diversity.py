"""Answers that are good and unlike each other."""

import numpy as np
from numpy.typing import NDArray

from crossmodal.records import Embeddings


def diversify(scores: NDArray[np.float64], embeddings: Embeddings, *, count: int, diversity: float) -> list[int]:
    """Choose ``count`` of the candidates by maximal marginal relevance; returns their places, first chosen first.

    ``scores`` [n] say how good each is, mostly 0 to 1, ``embeddings`` [n, dim] how alike they are. Each step takes the
    candidate with the largest ``(1 - diversity) * score - diversity * s``, where s is its highest cosine to one already
    chosen (J. Carbonell and J. Goldstein, SIGIR 1998). ``diversity`` 0 keeps the order by score, 1 ignores the query
    after the first. Of equal ones the one that comes first is taken.
    """
    if not len(scores):
        return []
    nearest_chosen = np.full(len(scores), -np.inf, dtype=np.float32)
    chosen: list[int] = [int(scores.argmax())]
    merits = ((1.0 - diversity) * scores).astype(np.float32)
    while len(chosen) < min(count, len(scores)):
        merits[chosen[-1]] = -np.inf
        np.maximum(nearest_chosen, embeddings @ embeddings[chosen[-1]], out=nearest_chosen)
        chosen.append(int((merits - diversity * nearest_chosen).argmax()))
    return chosen[:count]
