"""Look for given content in pictures: policies of prompts, each with a score and a threshold.

A filter, whose errors have to be measured on the pictures it is used on; `python -m indexer fit-policies` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossmodal.encoder import Encoder
from crossmodal.errors import NotFound, ValidationFailed
from crossmodal.records import Embedding
from crossmodal.search import zero_shot
from crossmodal.search.kept_texts import KeptTexts
from crossmodal.search.policies import Policy
from crossmodal.search.relevance import Calibrations
from crossmodal.search.seeing import PictureSource, Seeing

NOTICE = (
    "A filter by likeness to prompts, not a judgement and no guarantee: it misses pictures and flags others wrongly. "
    "Measure its errors on your own pictures (python -m indexer fit-policies)."
)


@dataclass(frozen=True, slots=True)
class PolicyScore:
    """``score`` 0 to 1; ``flagged`` if it is at least ``threshold``; ``top_concept`` is the concept nearest to the picture."""

    name: str
    score: float
    threshold: float
    flagged: bool
    top_concept: str


@dataclass(frozen=True, slots=True)
class Moderation:
    """A picture by every policy asked for, in the order of the file; ``flagged`` if one of them flags it."""

    policies: list[PolicyScore]
    flagged: bool
    model: str
    notice: str = NOTICE


class Moderating:
    """The use case. One instance serves all requests of a process.

    A policy's score is what share of the model's softmax its concepts have together, against its neutral prompts and the
    pseudo-class of ``zero_shot.even_odds``. Without that one a picture unlike any of the prompts would be flagged or not
    by chance: on scenes of the bundled model average precision was 0.64 to 0.96 without it and 0.88 to 0.98 with it, and higher
    in each of twelve combinations of concepts and neutral prompts.
    """

    def __init__(
        self, encoder: Encoder, calibrations: Calibrations, seeing: Seeing, policies: Sequence[Policy]
    ) -> None:
        self.policies = {policy.name: policy for policy in policies}
        self._calibrations = calibrations
        self._seeing = seeing
        prompts = dict.fromkeys(prompt for policy in policies for prompt in (*policy.concepts, *policy.neutral))
        self._places = {prompt: place for place, prompt in enumerate(prompts)}
        self._kept = KeptTexts(encoder, list(prompts))

    async def moderate(self, tenant: str, source: PictureSource, names: Sequence[str] | None = None) -> Moderation:
        """Score a picture by the policies called ``names``, by all where there are none.

        Raises ``NotFound`` where no policies are configured, ``ValidationFailed`` for a name that is not one, and what
        ``Seeing.embed`` and the encoder raise.
        """
        chosen = self._chosen(names)
        picture = await self._seeing.embed(tenant, source)
        scored = [await self.score(policy, picture) for policy in chosen]
        model = (await self._calibrations.info()).name
        return Moderation(scored, any(each.flagged for each in scored), model)

    async def score(self, policy: Policy, picture: Embedding) -> PolicyScore:
        """A picture's unit embedding by one of ``policies``."""
        info = await self._calibrations.info()
        prompts = (*policy.concepts, *policy.neutral)
        rows = (await self._kept.embeddings())[[self._places[prompt] for prompt in prompts]]
        cosines = zero_shot.cosines(rows, picture)
        shares = zero_shot.which(info, np.append(cosines, zero_shot.even_odds(info)))
        count = len(policy.concepts)
        score = min(1.0, float(shares[:count].sum()))
        top = policy.concepts[int(cosines[:count].argmax())]
        return PolicyScore(policy.name, score, policy.threshold, score >= policy.threshold, top)

    def _chosen(self, names: Sequence[str] | None) -> list[Policy]:
        if not self.policies:
            raise NotFound(
                "no policies are configured here: CROSSMODAL_POLICIES names a YAML file of them (README, Moderate)"
            )
        for place, name in enumerate(names or ()):
            if name not in self.policies:
                known = ", ".join(self.policies)
                raise ValidationFailed(f"there is no policy {name[:64]!r}; there are {known}", loc=("policies", place))
        return [policy for policy in self.policies.values() if names is None or policy.name in names]
