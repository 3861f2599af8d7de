"""`/describe`: what a picture shows, in words that are there already."""

from dataclasses import asdict

from fastapi import APIRouter, Request

from crossmodal.api.caller import Who
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import takes
from crossmodal.api.pictured import read_pictured
from crossmodal.api.rendering import render_hit
from crossmodal.api.schemas.describe import DescribeAnswer, DescriptionOptions, PictureToDescribe

router = APIRouter(route_class=DirectRoute, tags=["describe"])


@router.post(
    "/describe",
    openapi_extra=takes(
        PictureToDescribe, files=("file",), fields=DescriptionOptions.model_json_schema()["properties"]
    ),
    responses={200: {"model": DescribeAnswer}},
)
async def describe(request: Request, rooms: Rooms, who: Who) -> Json:
    """Captions and tags for a picture, uploaded or indexed: retrieved from what is indexed, not generated."""
    source, asked = await read_pictured(request, PictureToDescribe, DescriptionOptions)
    description = await rooms.describing.describe(who.tenant, source, n_results=asked.n_results)
    return Json(
        {
            "captions": [render_hit(hit) for hit in description.captions],
            "tags": [asdict(tag) for tag in description.tags],
            "sentence": description.sentence,
            "source": "retrieved",
            "model": description.model,
        }
    )
