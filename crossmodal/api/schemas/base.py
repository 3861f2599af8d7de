"""What the bodies of several routes share: kinds of members, the options of a search, items and problems."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from crossmodal.api.described import METADATA, NEW_ID, PICTURE, TEXT, component, exactly_one
from crossmodal.records import LongText
from crossmodal.search.querying import Window
from crossmodal.store.filters import parse_filter

MAX_RESULTS = 1000
MAX_OFFSET = 10_000
MAX_IMAGES = 100
MAX_TEXTS = 1000

Text = Annotated[str, Field(json_schema_extra=TEXT)]
Picture = Annotated[str, Field(json_schema_extra=PICTURE)]
ItemId = Annotated[str, Field(min_length=1, max_length=256)]
NewItemId = Annotated[ItemId, Field(json_schema_extra=NEW_ID)]
GivenMetadata = Annotated[dict[str, Any], WithJsonSchema(METADATA)]
GivenFilter = Annotated[dict[str, Any], WithJsonSchema(component("Filter"))]


def _whole(value: object) -> object:
    """JSON knows one kind of number: 5.0 is 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]

LongTextChoice = Annotated[
    LongText,
    Field(description="a text over the model's context is cut (truncate), or read whole in pieces (split)"),
]


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid")


class PictureBody(Body):
    """Where a JSON body has its picture: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=exactly_one(("image",), ("id",)))

    image: Picture | None = None
    id: ItemId | None = None


class Common(Body):
    """What every search takes."""

    n_results: Whole = Field(default=5, ge=1, le=MAX_RESULTS)
    offset: Whole = Field(default=0, ge=0, le=MAX_OFFSET)
    filter: GivenFilter | None = None
    min_relevance: float = Field(default=0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    diversity: float = Field(
        default=0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="0: by score alone; towards 1: unlike each other"
    )
    exact: StrictBool = Field(
        default=False, description="compare every item, where the store would otherwise ask an index that may miss some"
    )

    def window(self, *, explain: bool = False) -> Window:
        """The same for the use cases. Raises ``ValidationFailed`` for a filter that is not one."""
        where = None if self.filter is None else parse_filter(self.filter)
        return Window(self.n_results, self.offset, where, self.min_relevance, self.diversity, self.exact, explain)


class Answer(BaseModel):
    """A response body, for documentation and tests: responses are written without passing through it."""

    model_config = ConfigDict(extra="forbid")


class ItemAnswer(Answer):
    """Something indexed."""

    id: str
    modality: Literal["image", "text"]
    metadata: dict[str, Any]
    created_at: str
    text: str | None = None
    uri: str | None = None
    thumbnail_url: str | None = None


class HitAnswer(ItemAnswer):
    """Something found. ``score`` is the raw cosine, ``relevance`` the calibrated number."""

    score: float = Field(ge=-1, le=1)
    relevance: float = Field(ge=0, le=1)
    weak_match: bool


class SearchAnswer(Answer):
    """Hits, best first."""

    results: list[HitAnswer]
    model: str


class ProblemAnswer(BaseModel):
    """An error, RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[dict[str, Any]] | None = None
