"""From a raw cosine to a number people can read.

Cosines of CLIP mean different things for different models and pairs of modalities: a right text-to-image answer lies
about 0.2 to 0.35 with the published models, while two unlike pictures easily reach 0.5 (the gap between the modalities:
W. Liang et al., "Mind the gap", NeurIPS 2022). ``relevance`` is a logistic curve through the cosine, fitted per model
and pair on matching and non-matching examples (Platt scaling: J. Platt, "Probabilistic outputs for support vector
machines", 1999). It is monotone, so it never changes an order within a modality, and comparable between modalities.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from crossmodal.clip.base import ModelInfo
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

    def __init__(self, measured: Statistics | None = None) -> None:
        self._pairs: dict[PairName, PairStatistics] = {**UNFITTED, **(measured or {})}

    def of(self, query: Modality, target: Modality) -> PairStatistics:
        """The statistics of a query of one modality and items of another."""
        return self._pairs[cast("PairName", f"{query}-{target}")]

    def midpoint(self, query: Modality, target: Modality) -> float:
        """The cosine, -1 to 1, of relevance 0.5."""
        return self.of(query, target).midpoint

    def relevance(self, query: Modality, target: Modality, score: float) -> float:
        """Relevance, 0 to 1, of a cosine between a query and an item of these modalities."""
        pair = self.of(query, target)
        return logistic(pair.slope * (score - pair.midpoint))


class Calibrations:
    """What holds now: what was fitted on the collections, before what came with the model, before what is rough."""

    def __init__(self, encoder: Encoder, store: VectorStore) -> None:
        self._encoder = encoder
        self._store = store

    async def info(self) -> ModelInfo:
        """What is loaded, with the statistics that hold now. Raises ``ModelUnavailable``."""
        info = await self._encoder.info()
        return replace(info, calibration={**info.calibration, **self._store.statistics})

    async def now(self) -> Calibration:
        """The calibration to use. Raises ``ModelUnavailable``."""
        return Calibration((await self.info()).calibration)
