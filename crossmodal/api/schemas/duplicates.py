"""The bodies of `/duplicates`."""

from typing import Literal

from pydantic import ConfigDict, Field

from crossmodal.api.described import Schema
from crossmodal.api.schemas.base import Answer, Body, GivenFilter, Whole

MAX_GROUPS = 1000

_FIT_TOGETHER: Schema = {
    "not": {
        "anyOf": [
            {
                "required": ["modality", "method"],
                "properties": {"modality": {"const": "text"}, "method": {"const": "perceptual"}},
            },
            {
                "required": ["threshold", "method"],
                "properties": {"threshold": {"type": "number"}, "method": {"const": "exact"}},
            },
        ]
    }
}
"""Texts have no look, and the same bytes have no threshold."""


class DuplicatesQuery(Body):
    """Which items are compared, and what makes two the same."""

    model_config = ConfigDict(json_schema_extra=_FIT_TOGETHER)

    threshold: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        allow_inf_nan=False,
        description="least score of a pair: a cosine, with the method 'perceptual' a correlation of looks; "
        "without it the method's own rule holds",
    )
    filter: GivenFilter | None = None
    limit: Whole = Field(default=100, ge=1, le=MAX_GROUPS, description="groups")
    modality: Literal["image", "text"] = "image"
    method: Literal["all", "exact", "perceptual", "embedding"] = "all"
    linkage: Literal["complete", "connected"] = Field(
        default="complete", description="complete: each two of a group are the same; connected: a chain is enough"
    )


class DuplicateGroup(Answer):
    """Items that are the same, by their ids, with the greatest and the least score of two of them."""

    ids: list[str] = Field(min_length=2)
    max_score: float = Field(ge=-1, le=1)
    min_score: float = Field(ge=-1, le=1)
    kinds: list[Literal["exact", "perceptual", "embedding"]] = Field(min_length=1)


class DuplicatesAnswer(Answer):
    """Groups, greatest score first; ``truncated`` if not all items, pairs or groups were looked at or are told."""

    groups: list[DuplicateGroup]
    examined: int = Field(ge=0)
    truncated: bool
