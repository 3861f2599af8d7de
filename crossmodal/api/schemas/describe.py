"""The bodies of `/describe`."""

from typing import Literal

from pydantic import Field

from crossmodal.api.schemas.base import Answer, Body, HitAnswer, PictureBody, Whole

MAX_CAPTIONS = 100


class DescriptionOptions(Body):
    """How much is wanted."""

    n_results: Whole = Field(default=3, ge=1, le=MAX_CAPTIONS, description="captions at most")


class PictureToDescribe(DescriptionOptions, PictureBody):
    """A picture, or an indexed one, to describe."""


class TagAnswer(Answer):
    """A word that fits; ``score`` is the raw cosine, ``probability`` the word's against those of its kind."""

    tag: str
    score: float = Field(ge=-1, le=1)
    probability: float = Field(ge=0, le=1)


class DescribeAnswer(Answer):
    """Indexed texts and words of a vocabulary that fit, which may be none; ``source`` says that nothing is generated."""

    captions: list[HitAnswer]
    tags: list[TagAnswer]
    sentence: str
    source: Literal["retrieved"]
    model: str
