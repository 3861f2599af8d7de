"""Sort a picture under labels that nobody trained: zero-shot classification."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from crossmodal.clip.base import ModelInfo
from crossmodal.encoder import Encoder, Lane
from crossmodal.errors import ClientError, ValidationFailed
from crossmodal.metering import charge
from crossmodal.records import Embeddings
from crossmodal.search import zero_shot
from crossmodal.search.relevance import Calibrations
from crossmodal.search.seeing import PictureSource, Seeing
from crossmodal.search.texts import check_text

MIN_LABELS = 2
MAX_LABELS = 1000
MAX_TEMPLATES = 16
MAX_PROMPTS = 4000
"""Labels times templates: texts that one request has embedded."""

DEFAULT_TEMPLATE = "a photo of {}"
"""Models trained on captions know labels better in one. On the bundled model's held-out scenes this one is as good as the
bare label for names of objects and for sentences, and 6 points better for colours (README, Classify); published models
gain from it too (Radford et al. 2021, section 3.1.4)."""

_AT_ONCE = 32
"""More texts than this are bulk work: they would fill several batches, for which others would have to wait."""

_KEPT_BYTES = 16 * 2**20
"""Vectors of sets of labels that are kept: eight sets of a thousand labels at 512 dimensions."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """What is asked: ``labels``, each put into every one of ``templates`` at its ``{}``, which each has.

    ``none_of_these`` adds the pseudo-class of ``zero_shot.even_odds``. With ``multi_label`` each label gets a probability
    of its own; otherwise they share one between them.
    """

    labels: Sequence[str]
    templates: Sequence[str] = (DEFAULT_TEMPLATE,)
    none_of_these: bool = False
    multi_label: bool = False


@dataclass(frozen=True, slots=True)
class LabelScore:
    """``label`` None is "none of these"; ``probability`` 0 to 1; ``score`` the raw cosine, -1 to 1."""

    label: str | None
    probability: float
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Labels, likeliest first; ``truncated`` if the model saw only the beginning of one of the texts."""

    labels: list[LabelScore]
    model: str
    truncated: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """Unit vectors [labels, dim] of one set of labels, and whether the model saw only the beginning of one."""

    vectors: Embeddings
    truncated: bool


class Classifying:
    """The use case. One instance serves all requests of a process."""

    def __init__(self, encoder: Encoder, calibrations: Calibrations, seeing: Seeing, *, max_text_chars: int) -> None:
        self._encoder = encoder
        self._calibrations = calibrations
        self._seeing = seeing
        self._max_text_chars = max_text_chars
        self._kept: OrderedDict[bytes, _Labels] = OrderedDict()

    async def classify(self, tenant: str, source: PictureSource, asked: Labelling) -> Ranking:
        """Rank the labels for a picture.

        Raises ``ValidationFailed`` or ``TextTooLong`` with the place of the label or template, and what ``Seeing.embed``
        and the encoder raise.
        """
        self._check(asked)
        texts = zero_shot.prompts(asked.labels, asked.templates)
        charge(items=len(texts))
        info = await self._calibrations.info()
        known, picture = await asyncio.gather(
            self._labels(texts, len(asked.templates), info), self._seeing.embed(tenant, source)
        )
        scores = zero_shot.cosines(known.vectors, picture)
        names: list[str | None] = list(asked.labels)
        if asked.none_of_these:
            names.append(None)
            scores = np.append(scores, zero_shot.even_odds(info))
        probabilities = (zero_shot.each if asked.multi_label else zero_shot.which)(info, scores)
        order = np.argsort(-scores, kind="stable")  # probabilities grow with scores, and differ where they round to 1
        ranked = [LabelScore(names[place], float(probabilities[place]), float(scores[place])) for place in order]
        return Ranking(ranked, info.name, known.truncated)

    async def _labels(self, texts: Sequence[str], templates: int, info: ModelInfo) -> _Labels:
        """The vectors of labels: many pictures are asked about under the same ones, so the last sets are kept."""
        key = blake2b(repr((info.fingerprint, templates, *texts)).encode("utf-8", "surrogatepass")).digest()
        known = self._kept.get(key)
        if known is None:
            lane = Lane.INTERACTIVE if len(texts) <= _AT_ONCE else Lane.BULK
            answer = await self._encoder.embed_texts(texts, lane)
            known = _Labels(zero_shot.ensemble(answer.embeddings, templates), bool(answer.truncated.any()))
        self._kept[key] = known
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(each.vectors.nbytes for each in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return known

    def _check(self, asked: Labelling) -> None:
        if (count := len(asked.labels) * len(asked.templates)) > MAX_PROMPTS:
            detail = f"{len(asked.labels)} labels in {len(asked.templates)} templates are {count} texts; {MAX_PROMPTS} are allowed"
            raise ValidationFailed(detail, loc=("labels",))
        first: dict[str, int] = {}
        for place, label in enumerate(asked.labels):
            try:
                check_text(label, max_chars=self._max_text_chars)
                longest = max((zero_shot.fill(template, label) for template in asked.templates), key=len)
                check_text(longest, max_chars=self._max_text_chars)
            except ClientError as fault:
                raise fault.under("labels", place) from None
            if first.setdefault(label, place) != place:
                raise ValidationFailed(f"the label is the same as number {first[label]}", loc=("labels", place))
