"""`/classify`: sort a picture under labels that come with the request."""

from dataclasses import asdict

from fastapi import APIRouter, Request

from crossmodal.api.caller import Who
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import json_text, takes
from crossmodal.api.pictured import read_pictured
from crossmodal.api.schemas.classify import Classification, ClassifyAnswer, PictureToClassify
from crossmodal.errors import ValidationFailed
from crossmodal.search.classifying import DEFAULT_TEMPLATE, Labelling

router = APIRouter(route_class=DirectRoute, tags=["classify"])

_FIELDS = {
    "labels": json_text("a list of labels, as in the JSON body"),
    "template": {"type": "string", "pattern": r"\{\}", "description": "a text with {} where the label goes"},
    "templates": json_text("a list of templates, as in the JSON body"),
    "none_of_these": {"type": "boolean", "default": False},
    "multi_label": {"type": "boolean", "default": False},
}
_PARSED = ("labels", "templates", "none_of_these", "multi_label")


@router.post(
    "/classify",
    openapi_extra=takes(PictureToClassify, files=("file",), fields=_FIELDS, required=("labels",)),
    responses={200: {"model": ClassifyAnswer}},
)
async def classify(request: Request, rooms: Rooms, who: Who) -> Json:
    """Which of 2 to 1000 labels fits a picture, uploaded or indexed: zero-shot, by the model's own scale."""
    source, asked = await read_pictured(request, PictureToClassify, Classification, parsed=_PARSED)
    ranking = await rooms.classifying.classify(who.tenant, source, _labelling(asked))
    return Json(asdict(ranking))


def _labelling(asked: Classification) -> Labelling:
    if asked.template is not None and asked.templates is not None:
        raise ValidationFailed("'template' or 'templates' is given, not both", loc=("templates",))
    templates = asked.templates or [asked.template or DEFAULT_TEMPLATE]
    return Labelling(asked.labels, templates, none_of_these=asked.none_of_these, multi_label=asked.multi_label)
