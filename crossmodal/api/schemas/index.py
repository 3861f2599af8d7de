"""The bodies of `/index/*`."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from crossmodal.api.described import TEXT, component
from crossmodal.api.schemas.base import (
    MAX_IMAGES,
    MAX_TEXTS,
    Answer,
    Body,
    GivenMetadata,
    LongTextChoice,
    NewItemId,
    Picture,
    Text,
)


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
    """Texts to index; each is checked by itself, so a bad one does not fail the others.

    Without ``long_text`` a new text is truncated, and one that is indexed already stays as it is; with it, one that was
    embedded the other way is embedded anew.
    """

    items: list[TextToIndex] = Field(min_length=1, max_length=MAX_TEXTS)
    long_text: LongTextChoice | None = None


class FaultAnswer(Answer):
    """Why an item failed."""

    code: str
    detail: str


class IndexedAnswer(Answer):
    """What became of one item; ``tokens_used`` and ``truncated`` are there for a text that the model read for this answer."""

    id: str | None
    status: Literal["indexed", "unchanged", "failed"]
    error: FaultAnswer | None = None
    tokens_used: int | None = None
    truncated: bool | None = None


class IndexAnswer(Answer):
    """What became of the items, in the order they came."""

    indexed: int
    unchanged: int
    failed: int
    results: list[IndexedAnswer]
