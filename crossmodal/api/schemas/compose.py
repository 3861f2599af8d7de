"""The bodies of `POST /search` and `POST /recommend`."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from crossmodal.api.described import exactly_one
from crossmodal.api.schemas.base import Answer, Body, Common, HitAnswer, ItemId, LongTextChoice, Picture, Text

MAX_PARTS = 32
MAX_RATED = 100
MAX_WEIGHT = 10.0

Target = Literal["image", "text", "any"]
ModalityName = Literal["image", "text"]
Weight = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]


class Composed(Common):
    """What searches by several things at once take besides the common options."""

    target: Target = "image"
    explain: bool = Field(default=False, description="say for each hit what each part has to do with it")


def _is_of(member: str) -> dict[str, Any]:
    """A part with this member is of its modality, if it says so."""
    given = {"required": [member], "properties": {member: {"type": "string"}}}
    return {"if": given, "then": {"properties": {"modality": {"enum": [member, None]}}}}


_WANTED: dict[str, Any] = {
    "contains": {
        "anyOf": [
            {"type": "object", "not": {"required": ["weight"]}},
            {"type": "object", "required": ["weight"], "properties": {"weight": {"exclusiveMinimum": 0}}},
        ]
    }
}


class QueryPart(Body):
    """A text, a picture or an indexed item: exactly one of the three."""

    model_config = ConfigDict(
        json_schema_extra=exactly_one(("text",), ("image",), ("id",)) | {"allOf": [_is_of("text"), _is_of("image")]}
    )

    text: Text | None = None
    image: Picture | None = None
    id: ItemId | None = None
    modality: ModalityName | None = Field(default=None, description="of the item with this id; a picture if not given")
    weight: Weight = Field(default=1.0, description="below 0: not wanted")


class PartsQuery(Composed):
    """Search by several parts together; at least one has a weight above 0."""

    parts: list[QueryPart] = Field(min_length=1, max_length=MAX_PARTS, json_schema_extra=_WANTED)
    long_text: LongTextChoice = "truncate"


class RatedItems(Composed):
    """Search by indexed items that are liked and, if wanted, others that are not."""

    liked: list[ItemId] = Field(min_length=1, max_length=MAX_RATED)
    disliked: list[ItemId] = Field(default=[], max_length=MAX_RATED)
    modality: ModalityName = Field(default="image", description="of the liked and disliked items")


class ContributionAnswer(Answer):
    """What a part of the query has to do with a hit; the shares of a hit add up to its evidence."""

    part: int
    score: float = Field(ge=-1, le=1)
    share: float


class ComposedHitAnswer(HitAnswer):
    """Something found; with what each part has to do with it where that was asked for."""

    contributions: list[ContributionAnswer] | None = None


class ComposedAnswer(Answer):
    """Hits, best first by relevance; the model read ``tokens_used`` tokens of the texts, and not all if ``truncated``."""

    results: list[ComposedHitAnswer]
    model: str
    tokens_used: int
    truncated: bool
