"""From a raw cosine to a number people can read.

Cosines of CLIP mean different things for different models and pairs of modalities: a right text-to-image answer lies
about 0.2 to 0.35 with the published models, while two unlike pictures easily reach 0.5 (the gap between the modalities:
W. Liang et al., "Mind the gap", NeurIPS 2022). ``relevance`` is a logistic curve through the cosine, fitted per model
and pair on matching and non-matching examples (Platt scaling: J. Platt, "Probabilistic outputs for support vector
machines", 1999). It is monotone, so it never changes an order within a modality, and comparable between modalities.
"""

import math
from collections.abc import Mapping
from typing import cast

from crossmodal.encoder import Encoder
from crossmodal.records import Modality, PairName, PairStatistics, Statistics
from crossmodal.store.base import VectorStore

WEAK_BELOW = 0.5
"""Below this relevance a non-match is the likelier explanation: the hit is marked weak."""

UNFITTED: Mapping[PairName, PairStatistics] = {
    "text-image": PairStatistics(0.20, 40.0, 0.10, 0.04),
    "image-text": PairStatistics(0.20, 40.0, 0.10, 0.04),
    "image-image": PairStatistics(0.70, 15.0, 0.45, 0.10),
    "text-text": PairStatistics(0.75, 15.0, 0.45, 0.10),
}
"""For models nobody has calibrated: rough, after the ranges that published OpenCLIP models show."""


def logistic(logit: float) -> float:
    """1 / (1 + exp(-logit)), 0 to 1, for any finite number."""
    if logit < 0:  # whose exponential cannot overflow
        grown = math.exp(logit)
        return grown / (1.0 + grown)
    return 1.0 / (1.0 + math.exp(-logit))


class Calibration:
    """Statistics of each pair of query and target modality; pairs nobody has measured use ``UNFITTED``."""

    def __init__(self, *measured: Statistics) -> None:
        """Of several ``measured``, later ones count before earlier ones."""
        self._pairs: dict[PairName, PairStatistics] = dict(UNFITTED)
        for statistics in measured:
            self._pairs |= statistics

    def of(self, query: Modality, target: Modality) -> PairStatistics:
        """The statistics of a query of one modality and items of another."""
        return self._pairs[cast("PairName", f"{query}-{target}")]

    def relevance(self, query: Modality, target: Modality, score: float) -> float:
        """Relevance, 0 to 1, of a cosine between a query and an item of these modalities."""
        pair = self.of(query, target)
        return logistic(pair.slope * (score - pair.midpoint))


class Calibrations:
    """What holds now: what was fitted on the collections, before what came with the model, before what is rough."""

    def __init__(self, encoder: Encoder, store: VectorStore) -> None:
        self._encoder = encoder
        self._store = store

    async def now(self) -> Calibration:
        """The calibration to use. Raises ``ModelUnavailable``; without a store, the model's own holds."""
        return Calibration((await self._encoder.info()).calibration, self._store.statistics)
