"""Say in words what a picture shows, with words that are there already: indexed texts and a vocabulary.

Nothing is generated. Captions are the nearest of the tenant's texts, as far as they fit; tags are words of a vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crossmodal.clip.base import ModelInfo
from crossmodal.encoder import Encoder
from crossmodal.records import Embedding, Embeddings, Hit, Modality
from crossmodal.search import zero_shot
from crossmodal.search.classifying import DEFAULT_TEMPLATE
from crossmodal.search.kept_texts import KeptTexts
from crossmodal.search.querying import Querying, Window
from crossmodal.search.relevance import WEAK_BELOW, Calibrations
from crossmodal.search.seeing import PictureSource, Seeing
from crossmodal.search.vocabulary import Section
from crossmodal.search.wording import sentence_of

MAX_TAGS = 10
STANDS_OUT = 0.3
"""The share of the softmax over its section, "none of these" among it, from which a word is a tag.

Chosen on 600 held-out scenes of the bundled model, 481 objects of which are in the vocabulary: precision 0.77, recall 0.53,
against 0.64 and 0.49 of every word whose calibrated relevance is at least 0.5; of single objects 0.85 are found, of two in
one picture, whose names each say half, 0.17. On 400 others (`tools.tiny_clip.zero_shot`): 0.70 and 0.48."""
CLEAR = 0.5
"""The share of the softmax over an ``always`` section from which its best word is a tag: colours, precision 0.98, recall
0.97 on those scenes, 0.97 and 0.96 on the others. Their cosines are far below those of objects, so that "none of these" would win against every one."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A word that fits; ``score`` is the raw cosine, -1 to 1, ``probability`` the word's share in its section, 0 to 1."""

    tag: str
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class Description:
    """``captions`` best first, none of them weak; ``tags`` by score, at most ``MAX_TAGS``; ``sentence`` made of both."""

    captions: list[Hit]
    tags: list[Tag]
    sentence: str
    model: str


class Describing:
    """The use case. One instance serves all requests of a process."""

    def __init__(
        self,
        encoder: Encoder,
        calibrations: Calibrations,
        seeing: Seeing,
        querying: Querying,
        vocabulary: Sequence[Section],
    ) -> None:
        self._calibrations = calibrations
        self._seeing = seeing
        self._querying = querying
        self._sections = tuple(vocabulary)
        words = [word for section in self._sections for word in section.words]
        self._kept = KeptTexts(encoder, zero_shot.prompts(words, [DEFAULT_TEMPLATE]))

    async def describe(self, tenant: str, source: PictureSource, *, n_results: int) -> Description:
        """At most ``n_results`` captions of the tenant's, and tags.

        Raises what ``Seeing.embed``, ``Querying`` and the encoder raise.
        """
        picture = await self._seeing.embed(tenant, source)
        window = Window(n_results, min_relevance=WEAK_BELOW)
        answer = await self._querying.by_embedding(tenant, Modality.IMAGE, picture, Modality.TEXT, window)
        info = await self._calibrations.info()
        tags = self._tags(info, await self._kept.embeddings(), picture)
        captions = [hit.item.text or "" for hit in answer.hits]
        return Description(answer.hits, tags, sentence_of(captions, [tag.tag for tag in tags]), info.name)

    def _tags(self, info: ModelInfo, vectors: Embeddings, picture: Embedding) -> list[Tag]:
        likeliest = sorted(self._fitting(info, vectors, picture), key=lambda tag: -tag.probability)
        # A word of two sections is one tag.
        unique = {tag.tag: tag for tag in reversed(likeliest)}
        return sorted(sorted(unique.values(), key=lambda tag: -tag.probability)[:MAX_TAGS], key=lambda tag: -tag.score)

    def _fitting(self, info: ModelInfo, vectors: Embeddings, picture: Embedding) -> Iterator[Tag]:
        begin = 0
        for section in self._sections:
            end = begin + len(section.words)
            cosines = zero_shot.cosines(vectors[begin:end], picture)
            against = [] if section.always else [zero_shot.even_odds(info)]
            shares = zero_shot.which(info, np.append(cosines, against))
            least = CLEAR if section.always else STANDS_OUT
            for place in np.flatnonzero(shares[: len(section.words)] >= least):
                yield Tag(section.words[place], float(cosines[place]), min(1.0, float(shares[place])))
            begin = end
