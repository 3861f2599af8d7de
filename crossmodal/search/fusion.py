"""One query out of several parts: what it looks for, and how well an item answers it.

Each part's cosine c with an item becomes a standard score, z = (c - mean) / std, by the mean and standard deviation of
cosines with items that have nothing to do with the part. So parts of different modalities count alike, whatever the
ranges of their cosines. Parts of positive weight w are added as pieces of evidence (S. Stouffer et al., "The American
Soldier", 1949, volume 1, page 45; for pieces that depend on each other M. Strube, "Combining and comparing significance
levels", 1985):

    Z = sum(w z) / sqrt(sum over i, j of (w_i w_j r_ij))

which is linear in the item's embedding, so one search for one direction orders a collection by Z. A picture and a text
are taken to be independent, r = 0. Two parts of one modality partly say the same: r is their cosine, but at least 0.5,
so that one picture liked ten times is one piece of evidence.

A part of negative weight -w is a penalty: it takes w * max(0, z - 0.5) off, in the same measure. An item that has
nothing to do with what is unwanted loses nothing, where subtracting vectors would prefer items that are its opposite.
What an unwanted part has in common with the wanted ones of its own modality is not what is unwanted of it, so that is
taken out of it first: of a liked and a disliked picture of the same colours, the colours do not count. Across
modalities it stays: "a red background" describes just what a red picture shows. docs/adr/0014 has the measurements.

Relevance is the logistic curve of the pairs' calibration through Z, with midpoint and slope averaged over the parts by
weight. For one part it is exactly that pair's curve, and Z orders as the cosine does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmodal.errors import ValidationFailed
from crossmodal.records import Contribution, Embedding, Modality, PairStatistics
from crossmodal.search.relevance import Calibration

Floats = NDArray[np.float64]
T = TypeVar("T", float, Floats)

PENALTY_FROM = 0.5
"""The standard score from which an item counts as like something unwanted."""

LEAST_ALIKE = 0.5
"""How much two parts of one modality depend on each other at least, whatever their cosine."""

_MOST_UNWANTED = 1e6
"""How much more than anything is wanted something can be unwanted: beside the smallest weights it would be infinite."""
_LEAST_LENGTH = 1e-6
_LEAST_REST = 0.05
"""An unwanted part nearer to the wanted ones than this is the same thing: what is left of it would be noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A text's or picture's embedding; ``weight`` is finite, negative for what is not wanted, 0 for nothing at all."""

    embedding: Embedding
    modality: Modality
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """A part as it counts: ``embedding`` is the part's own, or of an unwanted one what it has not in common with the wanted."""

    part: Part
    pair: PairStatistics
    embedding: Embedding

    def counted(self, cosines: Floats) -> Floats:
        """The standard scores of items with these cosines, of an unwanted part what of them is penalised."""
        standard = _standard(self.pair, cosines)
        return standard if self.part.weight > 0 else np.maximum(0.0, standard - PENALTY_FROM)


class Aim:
    """A query of several parts as it looks for items of one modality.

    ``direction`` is the unit vector whose nearest items come first by all that is wanted.
    """

    def __init__(self, parts: Sequence[Part], target: Modality, calibration: Calibration) -> None:
        """Raises ``ValidationFailed`` if nothing is wanted, or if what is wanted cancels out."""
        largest = max((part.weight for part in parts), default=0.0)
        if largest <= 0:
            raise ValidationFailed("no part has a weight above 0, so there is nothing to look for")
        # Only what weights are to each other counts, and a very small one is no rounding error then.
        parts = [replace(part, weight=max(-_MOST_UNWANTED, part.weight / largest)) for part in parts]
        wanted = [part for part in parts if part.weight > 0]
        apart = {part.modality for part in parts if part.weight <= 0}
        common = {modality: _common([part for part in wanted if part.modality is modality]) for modality in apart}
        self._terms = [
            _Term(
                part,
                calibration.of(part.modality, target),
                part.embedding if part.weight > 0 else _without(part.embedding, common[part.modality]),
            )
            for part in parts
        ]
        self._wanted = [term for term in self._terms if term.part.weight > 0]
        self._unwanted = [term for term in self._terms if term.part.weight < 0]
        total = sum(part.weight for part in wanted)
        self._scale = 1.0 / _together(wanted)
        self._slope = sum(t.part.weight * t.pair.slope * t.pair.std for t in self._wanted) / total
        self._midpoint = sum(t.part.weight * _standard(t.pair, t.pair.midpoint) for t in self._wanted) / total
        self._background = sum(t.part.weight * t.pair.mean / t.pair.std for t in self._wanted)
        together = _weighted(self._wanted)
        self._length = float(np.linalg.norm(together))
        if self._length < _LEAST_LENGTH:
            raise ValidationFailed("the parts cancel out, so there is nothing to look for")
        self.direction: Embedding = (together / self._length).astype(np.float32)

    @property
    def has_unwanted(self) -> bool:
        """Whether a penalty can change the order that ``direction`` gives."""
        return bool(self._unwanted)

    def avoiding(self) -> Embedding:
        """A unit vector nearer to items without what is unwanted, to find candidates that ``direction`` finds late."""
        turned = self.direction * self._length + _weighted(self._unwanted) / 2
        length = float(np.linalg.norm(turned))
        return self.direction if length < _LEAST_LENGTH else (turned / length).astype(np.float32)

    def wanted_logits(self, scores: Floats) -> Floats:
        """How likely items are a match, by ``scores`` [n], their cosines with ``direction``: above 0 likelier than not.

        Comparable between modalities. What is unwanted takes ``penalties`` off.
        """
        return self._slope * ((self._length * scores - self._background) * self._scale - self._midpoint)

    @property
    def unwanted(self) -> list[Embedding]:
        """The unit vectors of what is unwanted, as they count."""
        return [term.embedding for term in self._unwanted]

    def penalties(self, cosines: Floats) -> Floats:
        """What items lose of their logits for being like what is unwanted, [n], each at least 0.

        ``cosines`` [n, k] are theirs with the k of ``unwanted``.
        """
        lost: Floats = np.zeros(len(cosines))
        for term, column in zip(self._unwanted, cosines.T, strict=True):
            lost -= self._slope * self._shares(term, column)
        return lost

    def contributions(self, embedding: Embedding) -> tuple[Contribution, ...]:
        """What each part has to do with an item."""
        own = np.clip([term.part.embedding @ embedding for term in self._terms], -1.0, 1.0)
        counted = np.clip([term.embedding @ embedding for term in self._terms], -1.0, 1.0)
        return tuple(
            Contribution(place, float(own[place]), float(self._shares(term, counted[place])))
            for place, term in enumerate(self._terms)
        )

    def _shares(self, term: _Term, cosines: Floats) -> Floats:
        return term.part.weight * term.counted(cosines) * self._scale + 0.0  # which makes 0 of -0


def _together(parts: Sequence[Part]) -> float:
    """The standard deviation of the weighted sum of standard scores, for items that have nothing to do with the parts."""
    if len(parts) == 1:
        return parts[0].weight
    variance = 0.0
    for modality in Modality:
        own = [part for part in parts if part.modality is modality]
        if own:
            embeddings, weights = np.stack([part.embedding for part in own]), np.array([part.weight for part in own])
            alike = np.maximum(LEAST_ALIKE, embeddings @ embeddings.T)
            np.fill_diagonal(alike, 1.0)
            variance += float(weights @ alike @ weights)
    return math.sqrt(variance)


def _weighted(terms: Sequence[_Term]) -> Embedding:
    """The terms' embeddings together, each in standard deviations."""
    together: Embedding = np.sum([term.part.weight / term.pair.std * term.embedding for term in terms], axis=0)
    return together


def _common(parts: Sequence[Part]) -> Embedding | None:
    """The unit vector of the weighted mean of ``parts``; None without any, or where they cancel out."""
    if not parts:
        return None
    mean = np.sum([part.weight * part.embedding for part in parts], axis=0)
    length = float(np.linalg.norm(mean))
    return None if length < _LEAST_LENGTH else (mean / length).astype(np.float32)


def _without(embedding: Embedding, common: Embedding | None) -> Embedding:
    """The unit vector of ``embedding`` without what it has of ``common``; unchanged where nothing else would be left."""
    if common is None:
        return embedding
    rest = embedding - max(0.0, float(embedding @ common)) * common
    length = float(np.linalg.norm(rest))
    return embedding if length < _LEAST_REST else (rest / length).astype(np.float32)


def _standard(pair: PairStatistics, cosines: T) -> T:
    standard: T = (cosines - pair.mean) / pair.std
    return standard
