"""`/moderate`: look for content that the operator's policies name."""

from dataclasses import asdict

from fastapi import APIRouter, Request

from crossmodal.api.caller import Who
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import json_text, takes
from crossmodal.api.pictured import read_pictured
from crossmodal.api.schemas.moderate import ModerateAnswer, ModerationOptions, PictureToModerate

router = APIRouter(route_class=DirectRoute, tags=["moderate"])


@router.post(
    "/moderate",
    openapi_extra=takes(
        PictureToModerate, files=("file",), fields={"policies": json_text("a list of names of policies")}
    ),
    responses={200: {"model": ModerateAnswer}},
)
async def moderate(request: Request, rooms: Rooms, who: Who) -> Json:
    """A picture by the configured policies: a filter with errors; 404 where no policies are configured."""
    source, asked = await read_pictured(request, PictureToModerate, ModerationOptions, parsed=("policies",))
    return Json(asdict(await rooms.moderating.moderate(who.tenant, source, asked.policies)))
