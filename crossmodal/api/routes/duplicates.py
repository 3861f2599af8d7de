"""`/duplicates`: which items are the same."""

from dataclasses import asdict

from fastapi import APIRouter, Request

from crossmodal.api.bodies import read_json
from crossmodal.api.caller import Who
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import takes
from crossmodal.api.schemas.duplicates import DuplicatesAnswer, DuplicatesQuery
from crossmodal.errors import ValidationFailed
from crossmodal.records import Modality
from crossmodal.search.duplicates import Linkage, Method, Wanted
from crossmodal.store.filters import parse_filter

router = APIRouter(route_class=DirectRoute, tags=["duplicates"])


@router.post("/duplicates", openapi_extra=takes(DuplicatesQuery), responses={200: {"model": DuplicatesAnswer}})
async def find_duplicates(request: Request, rooms: Rooms, who: Who) -> Json:
    """Groups of items that are the same: of equal content, of nearly the same look, or of near embeddings."""
    asked = await read_json(request, DuplicatesQuery)
    if asked.modality == "text" and asked.method == "perceptual":
        raise ValidationFailed("texts have no look; use the method 'all', 'exact' or 'embedding'", loc=("method",))
    if asked.method == "exact" and asked.threshold is not None:
        raise ValidationFailed("the method 'exact' compares bytes and takes no threshold", loc=("threshold",))
    wanted = Wanted(
        modality=Modality(asked.modality),
        method=Method(asked.method),
        linkage=Linkage(asked.linkage),
        threshold=asked.threshold,
        where=None if asked.filter is None else parse_filter(asked.filter),
        limit=asked.limit,
    )
    return Json(asdict(await rooms.duplicates.find(who.tenant, wanted)))
