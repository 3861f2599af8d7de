"""`POST /search` and `POST /recommend`: find items by several things at once."""

from collections.abc import Collection

from fastapi import APIRouter, Request

from crossmodal.api.bodies import read_json
from crossmodal.api.caller import Who
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import takes
from crossmodal.api.problems import at
from crossmodal.api.rendering import render_hit
from crossmodal.api.schemas.compose import ComposedAnswer, PartsQuery, QueryPart, RatedItems
from crossmodal.errors import ClientError, ValidationFailed
from crossmodal.records import Modality
from crossmodal.search.finding import ANY
from crossmodal.search.intake import Intake, together
from crossmodal.search.querying import Answer, Asked, AskedItem, AskedPicture, AskedText
from crossmodal.wiring import Container

router = APIRouter(route_class=DirectRoute, tags=["search"])

_SHOWN = 40


@router.post("/search", openapi_extra=takes(PartsQuery), responses={200: {"model": ComposedAnswer}})
async def search(request: Request, rooms: Rooms, who: Who) -> Json:
    """Items that answer several texts, pictures and indexed items together; those of negative weight are unwanted."""
    query = await read_json(request, PartsQuery)
    window = query.window(explain=query.explain)
    if not any(part.weight > 0 for part in query.parts):
        raise ValidationFailed("at least one part needs a weight above 0: what is there to look for?", loc=("parts",))
    intake = rooms.pictures.intake()
    asked = await together(_asked(place, part, query, intake) for place, part in enumerate(query.parts))
    with at("parts"):
        answer = await rooms.querying.by_parts(who.tenant, asked, _targets(query.target), window)
    return await _render(rooms, answer)


@router.post("/recommend", openapi_extra=takes(RatedItems), responses={200: {"model": ComposedAnswer}})
async def recommend(request: Request, rooms: Rooms, who: Who) -> Json:
    """Items like the liked ones and unlike the disliked ones; none of those is among them."""
    rated = await read_json(request, RatedItems)
    window = rated.window(explain=rated.explain)
    modality = Modality(rated.modality)
    for place, item_id in enumerate(rated.disliked):
        if item_id in rated.liked:
            raise ValidationFailed(f"{item_id[:_SHOWN]!r} is among the liked, too", loc=("disliked", place))
    asked = [AskedItem(modality, item_id) for item_id in rated.liked]
    asked += [AskedItem(modality, item_id, weight=-1.0) for item_id in rated.disliked]
    try:
        answer = await rooms.querying.by_parts(who.tenant, asked, _targets(rated.target), window)
    except ClientError as fault:
        raise _in_its_list(fault, len(rated.liked)) from None
    return await _render(rooms, answer)


async def _asked(place: int, part: QueryPart, query: PartsQuery, intake: Intake) -> Asked:
    with at("parts", place):
        given = [name for name in ("text", "image", "id") if getattr(part, name) is not None]
        if len(given) != 1:
            came = " and ".join(map(repr, given)) or "none"
            raise ValidationFailed(f"exactly one of 'text', 'image' and 'id' is needed; {came} came", loc=())
        if part.text is not None:
            _require_modality(part, Modality.TEXT)
            return AskedText(part.text, part.weight, query.long_text)
        if part.image is not None:
            _require_modality(part, Modality.IMAGE)
            with at("image"):
                return AskedPicture(await intake.bytes_of(part.image), part.weight)
        return AskedItem(Modality(part.modality or Modality.IMAGE), part.id or "", part.weight)


def _in_its_list(fault: ClientError, liked: int) -> ClientError:
    """The place of a fault counted in the list that the item stands in."""
    place, *rest = fault.loc or ("",)
    if isinstance(place, int):
        fault.loc = ("liked", place, *rest) if place < liked else ("disliked", place - liked, *rest)
    return fault


def _require_modality(part: QueryPart, modality: Modality) -> None:
    if part.modality not in {None, modality.value}:
        raise ValidationFailed(f"the part is of modality {modality.value!r}, not {part.modality!r}", loc=("modality",))


def _targets(target: str) -> Collection[Modality]:
    return ANY if target == "any" else (Modality(target),)


async def _render(rooms: Container, answer: Answer) -> Json:
    info = await rooms.encoder.info()
    hits = [render_hit(hit) for hit in answer.hits]
    read = {"tokens_used": answer.tokens_used, "truncated": answer.truncated}
    return Json({"results": hits, "model": info.name} | read)
