"""The bodies of `/index/*`."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from crossmodal.api.described import TEXT, component
from crossmodal.api.schemas.base import MAX_IMAGES, MAX_TEXTS, Answer, Body, GivenMetadata, NewItemId, Picture, Text


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
