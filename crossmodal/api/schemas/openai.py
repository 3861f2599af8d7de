"""The bodies of `/v1/*`, in the shape that clients of OpenAI's API send and read."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from crossmodal.api.described import PICTURE, TEXT
from crossmodal.api.schemas.base import MAX_IMAGES, MAX_TEXTS, Answer, Body, LongTextChoice, Whole


def _as_list(given: object) -> object:
    """One string is a list of one. Token ids are another model's, so they get words of their own."""
    if isinstance(given, list) and any(isinstance(each, int | list) for each in given):
        detail = "token ids came; this model has another vocabulary: send strings, which are made into tokens here"
        raise PydanticCustomError("token_ids", detail)
    if not isinstance(given, str | list):
        raise PydanticCustomError("input_type", "Input should be a string or a list of strings")
    return [given] if isinstance(given, str) else given


def _one_or_many(item: dict[str, Any], most: int) -> dict[str, Any]:
    one = {"type": "string"} | item
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": most}]}


_TEXTS = _one_or_many(TEXT, MAX_TEXTS)
_PICTURES = _one_or_many(PICTURE, MAX_IMAGES)
_BY_MODALITY: dict[str, Any] = {
    "oneOf": [
        {"properties": {"modality": {"enum": ["text", None]}, "input": _TEXTS}},
        {"required": ["modality"], "properties": {"modality": {"enum": ["image"]}, "input": _PICTURES}},
    ]
}

Input = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(min_length=1, max_length=MAX_TEXTS),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": "texts and pictures; without a modality what begins with data:image/ is a picture, else a text",
        }
    ),
]


class EmbeddingsToCreate(Body):
    """Texts and pictures to embed. Token ids are not taken: they would be another model's."""

    model_config = ConfigDict(json_schema_extra=_BY_MODALITY)

    input: Input
    model: str = Field(description="the name of the model that is served, as `/v1/models` lists it")
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="base64: of the numbers as float32, least significant byte first"
    )
    dimensions: Annotated[Whole, Field(ge=1, description="the model's own number, if any")] | None = None
    user: str | None = Field(default=None, description="taken and not looked at")
    modality: Literal["text", "image"] | None = None
    long_text: LongTextChoice = "truncate"


class EmbeddingAnswer(Answer):
    """One unit vector, as numbers or as base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class UsageAnswer(Answer):
    """Tokens the model read of the texts; pictures have none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingListAnswer(Answer):
    """Embeddings in the order of the input."""

    object: Literal["list"]
    data: list[EmbeddingAnswer]
    model: str
    usage: UsageAnswer


class ModelAnswer(Answer):
    """A model that is served; when it was made is not known, so ``created`` is 0."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelListAnswer(Answer):
    """The models that are served: one."""

    object: Literal["list"]
    data: list[ModelAnswer]
