"""The bodies of `/search/*`."""

from pydantic import ConfigDict

from crossmodal.api.described import exactly_one
from crossmodal.api.schemas.base import Common, ItemId, LongTextChoice, PictureBody, SearchAnswer, Text


class TextQuery(Common):
    """Search by a text."""

    query: Text
    long_text: LongTextChoice = "truncate"


class PictureQuery(Common, PictureBody):
    """Search by a picture or by an indexed item: exactly one of the two."""


class SimilarTextsQuery(Common):
    """Search texts by a text or by an indexed one: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=exactly_one(("query",), ("id",)))

    query: Text | None = None
    id: ItemId | None = None
    long_text: LongTextChoice = "truncate"


class TextSearchAnswer(SearchAnswer):
    """Hits of a text; the model read ``tokens_used`` tokens of it, and not all if it is ``truncated``."""

    query: str
    tokens_used: int
    truncated: bool


class SimilarTextsAnswer(SearchAnswer):
    """Hits of a text; the model read ``tokens_used`` tokens of it, none of an indexed one."""

    tokens_used: int
    truncated: bool
