"""`/items/*`, `/images/*` and `/stats`: what is indexed."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

import crossmodal
from crossmodal.api.bodies import json_field
from crossmodal.api.caller import ANYBODY, Who, caller_of
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.rendering import render_item
from crossmodal.api.schemas.base import ItemAnswer
from crossmodal.api.schemas.items import PageAnswer, StatsAnswer
from crossmodal.errors import NotFound
from crossmodal.imaging import media_type
from crossmodal.imaging.formats import MEDIA_TYPES
from crossmodal.records import Item, Modality
from crossmodal.store.filters import parse_filter

router = APIRouter(route_class=DirectRoute, tags=["items"])

_THUMBNAIL_TYPE = "image/webp"
_MODALITY = {"enum": [each.value for each in Modality]}
ModalityName = Annotated[str, Path(json_schema_extra=_MODALITY)]
"""Another one is a route that does not exist, so 404, not a value that is not valid."""

_A_YEAR = 31_536_000
_AN_HOUR = 3_600


def _pictures(*types: str) -> dict[int | str, dict[str, Any]]:
    """The document's words for an answer that is a picture."""
    tag = {"ETag": {"required": True, "schema": {"type": "string"}}}
    content = {each: {"schema": {"type": "string", "format": "binary"}} for each in types}
    return {200: {"content": content, "headers": tag}, 304: {"description": "unchanged", "headers": dict(tag)}}


@router.head("/items/{modality}", include_in_schema=False)
@router.get("/items/{modality}", responses={200: {"model": PageAnswer}})
async def list_items(
    modality: ModalityName,
    rooms: Rooms,
    who: Who,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    filter: Annotated[str | None, Query(description="conditions on metadata, as JSON")] = None,  # noqa: A002  the contract's name
) -> Json:
    """Walk through a collection."""
    where = None if filter is None else parse_filter(json_field("filter", filter))
    page = await rooms.library.list(who.tenant, _modality(modality), limit=limit, cursor=cursor, where=where)
    return Json({"items": [render_item(item) for item in page.items], "next_cursor": page.next_cursor})


@router.head("/items/{modality}/{item_id:path}", include_in_schema=False)
@router.get("/items/{modality}/{item_id:path}", operation_id="get_item", responses={200: {"model": ItemAnswer}})
async def get_item(modality: ModalityName, item_id: str, rooms: Rooms, who: Who) -> Json:
    """One item."""
    return Json(render_item(await rooms.library.get(who.tenant, _modality(modality), item_id)))


@router.delete("/items/{modality}/{item_id:path}", status_code=204, operation_id="delete_item")
async def delete_item(modality: ModalityName, item_id: str, rooms: Rooms, who: Who) -> Response:
    """Remove an item; it is never found again."""
    await rooms.library.remove(who.tenant, _modality(modality), item_id)
    return Response(status_code=204)


@router.head("/images/{item_id:path}/thumbnail", response_class=Response, include_in_schema=False)
@router.get("/images/{item_id:path}/thumbnail", response_class=Response, responses=_pictures(_THUMBNAIL_TYPE))
async def get_thumbnail(item_id: str, request: Request, rooms: Rooms, who: Who) -> Response:
    """A small WebP of a picture."""
    item = await rooms.library.get(who.tenant, Modality.IMAGE, item_id)
    if (unchanged := _not_modified(request, item, "t")) is not None:
        return unchanged
    return _picture(request, await rooms.library.thumbnail(who.tenant, item), _THUMBNAIL_TYPE, item, "t")


@router.head("/images/{item_id:path}", response_class=Response, include_in_schema=False)
@router.get("/images/{item_id:path}", response_class=Response, responses=_pictures(*MEDIA_TYPES.values()))
async def get_image(item_id: str, request: Request, rooms: Rooms, who: Who) -> Response:
    """A picture as it was indexed."""
    item = await rooms.library.get(who.tenant, Modality.IMAGE, item_id)
    if (unchanged := _not_modified(request, item, "o")) is not None:
        return unchanged
    content = await rooms.library.original(who.tenant, item)
    return _picture(request, content, media_type(content), item, "o")


@router.head("/stats", include_in_schema=False)
@router.get("/stats", responses={200: {"model": StatsAnswer}})
async def stats(rooms: Rooms, who: Who) -> Json:
    """Counts and the state of the parts."""
    return Json(asdict(await rooms.library.stats(who.tenant)) | {"version": crossmodal.__version__})


def _modality(name: str) -> Modality:
    try:
        return Modality(name)
    except ValueError:
        raise NotFound(f"there is no modality {name[:40]!r}; 'image' and 'text' are known") from None


def _headers(request: Request, item: Item, variant: str) -> dict[str, str]:
    # An id made from the content always means the same bytes; a caller's id may come to mean others.
    by_content = item.id == item.content_hash
    # What a key was needed for is for its holder's own cache: `public` would let a shared one give it to anybody.
    shared = "public" if caller_of(request) is ANYBODY else "private"
    caching = f"max-age={_A_YEAR}, immutable" if by_content else f"max-age={_AN_HOUR}, must-revalidate"
    return {
        "ETag": f'"{item.content_hash[:32]}-{variant}"',
        "Cache-Control": f"{shared}, {caching}",
        "Vary": "Authorization",  # the same id may be another tenant's picture
        # Somebody's upload is shown, never run: no script in it, nothing loaded by it.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def _not_modified(request: Request, item: Item, variant: str) -> Response | None:
    headers = _headers(request, item, variant)
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return Response(status_code=304, headers=headers) if known & {headers["ETag"], "*"} else None


def _picture(request: Request, content: bytes, kind: str, item: Item, variant: str) -> Response:
    headers = _headers(request, item, variant) | {"Content-Length": str(len(content))}
    return Response(b"" if request.method == "HEAD" else content, media_type=kind, headers=headers)
