"""One query out of several parts: what it looks for, and how well an item answers it.

Each part's cosine c with an item becomes a standard score, z = (c - mean) / std, by the mean and standard deviation of
cosines with items that have nothing to do with the part. So parts of different modalities count alike, whatever the
ranges of their cosines. Parts of positive weight w are added as independent pieces of evidence (S. Stouffer et al.,
"The American Soldier", 1949, volume 1, page 45):

    Z = sum(w z) / sqrt(sum(w w))

which is linear in the item's embedding, so one search for one direction orders a collection by Z.

A part of negative weight -w is a penalty: it takes w * max(0, z - 0.5) off, in the same measure. An item that has
nothing to do with what is unwanted loses nothing, where subtracting vectors would prefer items that are its opposite;
docs/adr/0014 has the measurements.

Relevance is the logistic curve of the pairs' calibration through Z, with midpoint and slope averaged over the parts by
weight. For one part it is exactly that pair's curve, and Z orders as the cosine does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossmodal.errors import ValidationFailed
from crossmodal.records import Contribution, Embedding, Modality, PairStatistics, ScoredItem
from crossmodal.search.relevance import Calibration

PENALTY_FROM = 0.5
"""The standard score from which an item counts as like something unwanted."""

_LEAST_LENGTH = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A text's or picture's embedding; ``weight`` is finite, negative for what is not wanted, 0 for nothing at all."""

    embedding: Embedding
    modality: Modality
    weight: float = 1.0


class Aim:
    """A query of several parts as it looks for items of one modality.

    ``direction`` is the unit vector whose nearest items come first by all that is wanted.
    """

    def __init__(self, parts: Sequence[Part], target: Modality, calibration: Calibration) -> None:
        """Raises ``ValidationFailed`` if nothing is wanted, or if what is wanted cancels out."""
        self._parts = [(place, part, calibration.of(part.modality, target)) for place, part in enumerate(parts)]
        self._wanted = [each for each in self._parts if each[1].weight > 0]
        self._unwanted = [each for each in self._parts if each[1].weight < 0]
        if not self._wanted:
            raise ValidationFailed("no part has a weight above 0, so there is nothing to look for", loc=("parts",))
        total = sum(part.weight for _, part, _ in self._wanted)
        self._scale = 1.0 / math.sqrt(sum(part.weight**2 for _, part, _ in self._wanted))
        self._slope = sum(part.weight * pair.slope * pair.std for _, part, pair in self._wanted) / total
        self._midpoint = sum(part.weight * _standard(pair, pair.midpoint) for _, part, pair in self._wanted) / total
        weighted = np.sum([part.weight / pair.std * part.embedding for _, part, pair in self._wanted], axis=0)
        self._length = float(np.linalg.norm(weighted))
        if self._length < _LEAST_LENGTH:
            raise ValidationFailed("the parts cancel out, so there is nothing to look for", loc=("parts",))
        self.direction: Embedding = (weighted / self._length).astype(np.float32)
        self._background = sum(part.weight * pair.mean / pair.std for _, part, pair in self._wanted)

    @property
    def has_unwanted(self) -> bool:
        """Whether a penalty can change the order that ``direction`` gives."""
        return bool(self._unwanted)

    def avoiding(self) -> Embedding:
        """A unit vector nearer to items without what is unwanted, to find candidates that ``direction`` finds late."""
        away = np.sum([part.weight / pair.std * part.embedding for _, part, pair in self._unwanted], axis=0)
        turned = self.direction * self._length + away / 2
        length = float(np.linalg.norm(turned))
        return self.direction if length < _LEAST_LENGTH else (turned / length).astype(np.float32)

    def wanted_logit(self, score: float) -> float:
        """How likely an item is a match, from ``score``, its cosine with ``direction``: above 0 likelier than not.

        Comparable between modalities. What is unwanted takes ``penalty`` off.
        """
        return self._slope * ((self._length * score - self._background) * self._scale - self._midpoint)

    def penalty(self, embedding: Embedding) -> float:
        """What an item loses of its logit for being like what is unwanted, at least 0."""
        shares = (self._share(part, pair, _cosine(part.embedding, embedding)) for _, part, pair in self._unwanted)
        return -self._slope * sum(shares)

    def rescored(self, scored: ScoredItem) -> ScoredItem:
        """An item found by another direction, with its embedding, scored by ``direction``."""
        if scored.embedding is None:
            msg = f"item {scored.item.id!r} came without its embedding"
            raise ValueError(msg)
        return replace(scored, score=_cosine(scored.embedding, self.direction))

    def contributions(self, embedding: Embedding) -> tuple[Contribution, ...]:
        """What each part has to do with an item."""
        cosines = [(place, part, pair, _cosine(part.embedding, embedding)) for place, part, pair in self._parts]
        return tuple(
            Contribution(place, cosine, self._share(part, pair, cosine)) for place, part, pair, cosine in cosines
        )

    def _share(self, part: Part, pair: PairStatistics, cosine: float) -> float:
        standard = _standard(pair, cosine)
        counted = standard if part.weight > 0 else max(0.0, standard - PENALTY_FROM)
        return part.weight * counted * self._scale


def _cosine(first: Embedding, second: Embedding) -> float:
    return max(-1.0, min(1.0, float(first @ second)))


def _standard(pair: PairStatistics, cosine: float) -> float:
    return (cosine - pair.mean) / pair.std
