"""The bodies of `/similarity` and `/embed/*`."""

from pydantic import ConfigDict, Field

from crossmodal.api.described import exactly_one
from crossmodal.api.schemas.base import MAX_IMAGES, MAX_TEXTS, Answer, Body, LongTextChoice, Picture, Text

MAX_COMPARED = 1000


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
    long_text: LongTextChoice = "truncate"


class ImagesToEmbed(Body):
    """Pictures to embed."""

    images: list[Picture] = Field(min_length=1, max_length=MAX_IMAGES)


class SimilarityAnswer(Answer):
    """A cosine and its meaning, or cosines of shape texts by images."""

    similarity: float | list[list[float]]
    relevance: float | None = None


class EmbeddingsAnswer(Answer):
    """Unit vectors."""

    embeddings: list[list[float]]
    model: str
    dim: int


class TextEmbeddingsAnswer(EmbeddingsAnswer):
    """Unit vectors of texts, how many tokens the model read of each, and whether there was more."""

    tokens_used: list[int]
    truncated: list[bool]
