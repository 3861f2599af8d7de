"""From a raw cosine to a number people can read.

Cosines of CLIP mean different things for different models and pairs of modalities: a right text-to-image answer lies
about 0.2 to 0.35 with the published models, while two unlike pictures easily reach 0.5. ``relevance`` is a logistic
curve through the cosine, fitted per model and pair on matching and non-matching examples (Platt scaling: J. Platt,
"Probabilistic outputs for support vector machines", 1999). It is monotone, so it never changes an order.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crossmodal.records import Hit, Modality, ScoredItem

WEAK_BELOW = 0.5
"""Below this relevance a non-match is the likelier explanation: the hit is marked weak."""


@dataclass(frozen=True, slots=True)
class Curve:
    """``midpoint`` is the cosine of relevance 0.5, ``slope`` the steepness per unit of cosine (positive)."""

    midpoint: float
    slope: float

    def __call__(self, score: float) -> float:
        """Relevance, 0 to 1, of a cosine, -1 to 1."""
        return 1.0 / (1.0 + math.exp(-self.slope * (score - self.midpoint)))


UNFITTED: Mapping[str, Curve] = {
    "text-image": Curve(0.20, 40.0),
    "image-text": Curve(0.20, 40.0),
    "image-image": Curve(0.70, 15.0),
    "text-text": Curve(0.75, 15.0),
}
"""For models without a fitted calibration: rough curves after the ranges that published OpenCLIP models show."""


class Calibration:
    """Curves per pair of query and target modality; pairs without a fitted one use ``UNFITTED``."""

    def __init__(self, fitted: Mapping[str, tuple[float, float]] | None = None) -> None:
        """``fitted`` maps e.g. ``"text-image"`` to (midpoint, slope)."""
        self._curves = {**UNFITTED, **{pair: Curve(*values) for pair, values in (fitted or {}).items()}}

    def relevance(self, query: Modality, target: Modality, score: float) -> float:
        """Relevance, 0 to 1, of a cosine between a query and an item of these modalities."""
        return self._curves[f"{query}-{target}"](score)

    def midpoint(self, query: Modality, target: Modality) -> float:
        """The cosine of relevance 0.5 between a query and an item of these modalities."""
        return self._curves[f"{query}-{target}"].midpoint

    def hit(self, query: Modality, scored: ScoredItem) -> Hit:
        """A scored item with what its score means."""
        relevance = self.relevance(query, scored.item.modality, scored.score)
        return Hit(scored.item, scored.score, relevance, weak_match=relevance < WEAK_BELOW)
