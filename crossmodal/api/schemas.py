"""The bodies of the contract. Requests refuse unknown members, so that a misspelt one is not silently ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from crossmodal.api.described import METADATA, NEW_ID, PICTURE, TEXT, component, exactly_one
from crossmodal.search.querying import Window
from crossmodal.store.filters import parse_filter

MAX_RESULTS = 1000
MAX_OFFSET = 10_000
MAX_IMAGES = 100
MAX_TEXTS = 1000
MAX_COMPARED = 1000

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


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid")


class Common(Body):
    """What every search takes."""

    n_results: Whole = Field(default=5, ge=1, le=MAX_RESULTS)
    offset: Whole = Field(default=0, ge=0, le=MAX_OFFSET)
    filter: GivenFilter | None = None
    min_relevance: float = Field(default=0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    diversity: float = Field(
        default=0.0, ge=0.0, le=1.0, allow_inf_nan=False, description="0: by score alone; towards 1: unlike each other"
    )

    def window(self) -> Window:
        """The same for the use cases. Raises ``ValidationFailed`` for a filter that is not one."""
        where = None if self.filter is None else parse_filter(self.filter)
        return Window(self.n_results, self.offset, where, self.min_relevance, self.diversity)


class TextQuery(Common):
    """Search by a text."""

    query: Text


class PictureQuery(Common):
    """Search by a picture or by an indexed item: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=exactly_one(("image",), ("id",)))

    image: Picture | None = None
    id: ItemId | None = None


class SimilarTextsQuery(Common):
    """Search texts by a text or by an indexed one: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=exactly_one(("query",), ("id",)))

    query: Text | None = None
    id: ItemId | None = None


class ImageSubmission(Body):
    """A picture to index."""

    image: Picture
    id: NewItemId | None = None
    metadata: GivenMetadata | None = None


class TextSubmission(Body):
    """A text to index."""

    text: Text
    id: NewItemId | None = None
    metadata: GivenMetadata | None = None


ImageToIndex = Annotated[Any, WithJsonSchema(component("ImageSubmission"))]
TextToIndex = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"} | TEXT, component("TextSubmission")]})]


class ImagesToIndex(Body):
    """Pictures to index; each is checked by itself, so a bad one does not fail the others."""

    items: list[ImageToIndex] = Field(min_length=1, max_length=MAX_IMAGES)


class TextsToIndex(Body):
    """Texts to index; each is checked by itself, so a bad one does not fail the others."""

    items: list[TextToIndex] = Field(min_length=1, max_length=MAX_TEXTS)


class Comparison(Body):
    """Compare a text and a picture, or many with many."""

    model_config = ConfigDict(json_schema_extra=exactly_one(("text", "image"), ("texts", "images")))

    text: Text | None = None
    image: Picture | None = None
    texts: list[Text] | None = Field(default=None, min_length=1, max_length=MAX_COMPARED)
    images: list[Picture] | None = Field(default=None, min_length=1, max_length=MAX_IMAGES)


class TextsToEmbed(Body):
    """Texts to embed."""

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)


class ImagesToEmbed(Body):
    """Pictures to embed."""

    images: list[Picture] = Field(min_length=1, max_length=MAX_IMAGES)


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


class TextSearchAnswer(SearchAnswer):
    """Hits of a text; ``truncated`` if the model saw only the beginning of it."""

    query: str
    truncated: bool


class SimilarTextsAnswer(SearchAnswer):
    """Hits of a text; ``truncated`` if the model saw only the beginning of it."""

    truncated: bool


class FaultAnswer(Answer):
    """Why an item failed."""

    code: str
    detail: str


class IndexedAnswer(Answer):
    """What became of one item."""

    id: str | None
    status: Literal["indexed", "unchanged", "failed"]
    error: FaultAnswer | None = None


class IndexAnswer(Answer):
    """What became of the items, in the order they came."""

    indexed: int
    unchanged: int
    failed: int
    results: list[IndexedAnswer]


class SimilarityAnswer(Answer):
    """A cosine and its meaning, or cosines of shape texts by images."""

    similarity: float | list[list[float]]
    relevance: float | None = None


class EmbeddingsAnswer(Answer):
    """Unit vectors."""

    embeddings: list[list[float]]
    model: str
    dim: int


class PageAnswer(Answer):
    """Some items; ``next_cursor`` is null at the end."""

    items: list[ItemAnswer]
    next_cursor: str | None


class StatsAnswer(Answer):
    """Counts and the state of the parts."""

    model: str
    embedding_dim: int
    images_indexed: int
    texts_indexed: int
    store: str
    device: str
    precision: str
    fingerprint: str
    version: str


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
