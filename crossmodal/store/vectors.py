"""The guard every store keeps before its engine: embeddings are finite, of unit length and of the right dimension.

Engines accept not-a-number and zero and answer nonsense ever after, or refuse a whole batch with a text of their own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crossmodal.records import Embedding, Embeddings, Modality, Point

TOLERANCE = 1e-3
"""How far from 1 the length of an embedding may be; what is within is scaled to 1."""


def unit_rows(points: Sequence[Point], modality: Modality, dim: int) -> Embeddings:
    """Embeddings of ``points``, float32 [n, dim], scaled to unit length.

    Raises ``ValueError`` for a point of another modality, without a time zone, with half a surrogate pair in its text,
    or whose embedding is not finite, not of unit length within ``TOLERANCE`` or not of dimension ``dim``.
    """
    for point in points:
        if point.item.modality is not modality:
            raise ValueError(f"an item of modality {point.item.modality} was given to the {modality} collection")
        if point.item.created_at.tzinfo is None:
            raise ValueError("created_at has no time zone")
        (point.item.id + (point.item.text or "")).encode()  # raises UnicodeEncodeError, a ValueError
    return np.stack([unit(point.embedding, dim) for point in points]) if points else np.empty((0, dim), np.float32)


def unit(embedding: ArrayLike, dim: int) -> Embedding:
    """``embedding`` as float32 [dim], scaled to unit length. Raises ``ValueError`` as ``unit_rows`` does."""
    vector = np.asarray(embedding, np.float32)
    if vector.shape != (dim,):
        raise ValueError(f"an embedding has shape {vector.shape}; the collection takes ({dim},)")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not abs(length - 1.0) <= TOLERANCE:  # also true for NaN, which compares false with everything
        raise ValueError(f"an embedding has length {length:.6g}; it must be 1 within {TOLERANCE}")
    return (vector / np.float32(length)).astype(np.float32)


def stacked(rows: Sequence[Embedding]) -> Embeddings:
    """Rows of one length as float32 [n, dim]; [0, 0] of none."""
    return np.stack(rows) if rows else np.empty((0, 0), np.float32)


def cosines_of(rows: Sequence[Sequence[float]], columns: int) -> Embeddings:
    """Scores an engine returned as float32 [rows, columns], clipped to -1 to 1; what is not a number stays so."""
    return np.clip(np.array(rows, np.float32).reshape(len(rows), columns), -1.0, 1.0)


def cosine(score: float) -> float:
    """A score an engine returned, clipped to -1 to 1: rounding puts equal vectors a little above 1."""
    return min(1.0, max(-1.0, float(score)))
