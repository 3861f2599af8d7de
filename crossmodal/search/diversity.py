"""Answers that are good and unlike each other."""

from collections.abc import Sequence

import numpy as np

from crossmodal.records import Embeddings, ScoredItem


def diversify(candidates: Sequence[ScoredItem], *, count: int, diversity: float) -> list[int]:
    """Choose ``count`` of ``candidates`` by maximal marginal relevance; returns their places, first chosen first.

    Each step takes the candidate with the largest ``(1 - diversity) * score - diversity * s``, where s is its highest
    cosine to one already chosen (J. Carbonell and J. Goldstein, SIGIR 1998). ``diversity`` 0 keeps the order by score,
    1 ignores the query after the first. Candidates must carry their embeddings.
    """
    if not candidates:
        return []
    embeddings: Embeddings = np.stack([_embedding(candidate) for candidate in candidates])
    scores = np.array([candidate.score for candidate in candidates], dtype=np.float32)
    nearest_chosen = np.full(len(candidates), -np.inf, dtype=np.float32)
    chosen: list[int] = [int(scores.argmax())]
    merits = (1.0 - diversity) * scores
    while len(chosen) < min(count, len(candidates)):
        merits[chosen[-1]] = -np.inf
        np.maximum(nearest_chosen, embeddings @ embeddings[chosen[-1]], out=nearest_chosen)
        chosen.append(int((merits - diversity * nearest_chosen).argmax()))
    return chosen[:count]


def _embedding(candidate: ScoredItem) -> Embeddings:
    if candidate.embedding is None:
        msg = f"item {candidate.item.id!r} came without its embedding"
        raise ValueError(msg)
    return candidate.embedding
