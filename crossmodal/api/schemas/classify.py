"""The bodies of `/classify`."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from crossmodal.api.described import exactly_one
from crossmodal.api.schemas.base import Answer, Body, PictureBody, Text
from crossmodal.search.classifying import DEFAULT_TEMPLATE, MAX_LABELS, MAX_PROMPTS, MAX_TEMPLATES, MIN_LABELS


def _with_place(template: str) -> str:
    if "{}" not in template:
        raise ValueError("a template holds {} where the label goes; this one does not")
    return template


Template = Annotated[
    str,
    AfterValidator(_with_place),
    Field(json_schema_extra={"pattern": r"\{\}", "description": "a text with {} where the label goes"}),
]

Flag = Annotated[bool, Field(strict=True)]
"""True or false, in a form too, where lax reading would take `yes` and `1` as well."""

_NOT_BOTH: dict[str, Any] = {
    "not": {
        "required": ["template", "templates"],
        "properties": {"template": {"type": "string"}, "templates": {"type": "array"}},
    }
}


class Classification(Body):
    """Labels and what to make of them."""

    labels: list[Text] = Field(
        min_length=MIN_LABELS,
        max_length=MAX_LABELS,
        json_schema_extra={"uniqueItems": True},
        description=f"labels times templates are at most {MAX_PROMPTS}",
    )
    template: Template | None = Field(default=None, description=f"{DEFAULT_TEMPLATE!r} where no template is given")
    templates: list[Template] | None = Field(
        default=None, min_length=1, max_length=MAX_TEMPLATES, description="a label is the mean of its vectors in all"
    )
    none_of_these: Flag = Field(default=False, description="with an entry whose label is null: none of the labels")
    multi_label: Flag = Field(default=False, description="several labels may fit: each has a probability of its own")


class PictureToClassify(Classification, PictureBody):
    """A picture, or an indexed one, to sort under labels."""

    model_config = ConfigDict(json_schema_extra=exactly_one(("image",), ("id",)) | _NOT_BOTH)


class LabelAnswer(Answer):
    """A label, null for none of them; ``score`` is the raw cosine."""

    label: str | None
    probability: float = Field(ge=0, le=1)
    score: float = Field(ge=-1, le=1)


class ClassifyAnswer(Answer):
    """Labels, likeliest first; ``truncated`` if the model saw only the beginning of one of them."""

    labels: list[LabelAnswer]
    model: str
    truncated: bool
