"""`/search/*`: find items by a text, a picture or another item."""

from typing import Any

from fastapi import APIRouter, Request

from crossmodal.api.bodies import read_json
from crossmodal.api.caller import Caller, Who
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import takes
from crossmodal.api.pictured import need_one, read_pictured
from crossmodal.api.problems import at
from crossmodal.api.rendering import render_hit
from crossmodal.api.schemas.base import Common, SearchAnswer
from crossmodal.api.schemas.search import (
    PictureQuery,
    SimilarTextsAnswer,
    SimilarTextsQuery,
    TextQuery,
    TextSearchAnswer,
)
from crossmodal.records import Modality
from crossmodal.search.querying import Answer
from crossmodal.wiring import Container

router = APIRouter(route_class=DirectRoute, prefix="/search", tags=["search"])


@router.post("/text-to-image", openapi_extra=takes(TextQuery), responses={200: {"model": TextSearchAnswer}})
async def text_to_image(request: Request, rooms: Rooms, who: Who) -> Json:
    """Pictures nearest to a text."""
    asked = await read_json(request, TextQuery)
    window = asked.window()
    with at("query"):
        answer = await rooms.querying.by_text(who.tenant, asked.query, Modality.IMAGE, window, asked.long_text)
    return await _render(rooms, answer, query=asked.query, **_read(answer))


@router.post(
    "/image-to-text", openapi_extra=takes(PictureQuery, files=("file",)), responses={200: {"model": SearchAnswer}}
)
async def image_to_text(request: Request, rooms: Rooms, who: Who) -> Json:
    """Texts nearest to a picture, uploaded or indexed."""
    return await _by_picture(request, rooms, who, Modality.TEXT)


@router.post(
    "/similar-images", openapi_extra=takes(PictureQuery, files=("file",)), responses={200: {"model": SearchAnswer}}
)
async def similar_images(request: Request, rooms: Rooms, who: Who) -> Json:
    """Pictures nearest to a picture, uploaded or indexed; the same bytes are never among them."""
    return await _by_picture(request, rooms, who, Modality.IMAGE)


@router.post("/similar-texts", openapi_extra=takes(SimilarTextsQuery), responses={200: {"model": SimilarTextsAnswer}})
async def similar_texts(request: Request, rooms: Rooms, who: Who) -> Json:
    """Texts nearest to a text; nearest to an indexed one, it is not among them itself."""
    asked = await read_json(request, SimilarTextsQuery)
    need_one("query", asked.query, "id", asked.id)
    window = asked.window()
    if asked.id is not None:
        answer = await rooms.querying.by_item(who.tenant, Modality.TEXT, asked.id, Modality.TEXT, window)
    else:
        with at("query"):
            answer = await rooms.querying.by_text(who.tenant, asked.query or "", Modality.TEXT, window, asked.long_text)
    return await _render(rooms, answer, **_read(answer))


async def _by_picture(request: Request, rooms: Container, who: Caller, target: Modality) -> Json:
    source, asked = await read_pictured(request, PictureQuery, Common, parsed=("filter",))
    window = asked.window()
    if source.id is not None:
        return await _render(rooms, await rooms.querying.by_item(who.tenant, Modality.IMAGE, source.id, target, window))
    content = await rooms.seeing.content(source)
    with at(*source.loc):
        return await _render(rooms, await rooms.querying.by_picture(who.tenant, content, target, window))


def _read(answer: Answer) -> dict[str, Any]:
    return {"tokens_used": answer.tokens_used, "truncated": answer.truncated}


async def _render(rooms: Container, answer: Answer, **members: Any) -> Json:
    info = await rooms.encoder.info()
    return Json({"results": [render_hit(hit) for hit in answer.hits], "model": info.name} | members)
