"""`/index/*`: put pictures and texts into their collections."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from crossmodal.api.bodies import JSON, MULTIPART, content_type, json_field, read_form, read_json
from crossmodal.api.caller import Who
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import json_text, links_to_items, takes
from crossmodal.api.problems import ProblemResponse
from crossmodal.api.schemas.base import MAX_IMAGES
from crossmodal.api.schemas.index import ImagesToIndex, ImageSubmission, IndexAnswer, TextsToIndex, TextSubmission
from crossmodal.api.wording import message_of
from crossmodal.errors import ClientError, ValidationFailed
from crossmodal.search.indexing import Indexed, Status, Submission
from crossmodal.search.intake import Intake, together
from crossmodal.search.texts import MAX_ID_CHARS, is_encodable
from crossmodal.store.metadata import check_metadata

router = APIRouter(route_class=DirectRoute, prefix="/index", tags=["index"])

M = TypeVar("M", bound=BaseModel)


@router.post(
    "/images",
    openapi_extra=takes(
        ImagesToIndex,
        files=("files",),
        fields={
            "metadata": json_text("a list, one object or null per file"),
            "ids": json_text("a list, one string or null per file"),
        },
    ),
    responses={200: {"model": IndexAnswer, "links": links_to_items("image")}},
)
async def index_images(request: Request, rooms: Rooms, who: Who) -> Response:
    """Index 1 to 100 pictures; a bad one fails alone."""
    if content_type(request, JSON, MULTIPART) == MULTIPART:
        async with read_form(request) as form:
            submissions = await _uploads(form)
        place = "files"
    else:
        items = (await read_json(request, ImagesToIndex)).items
        intake = rooms.pictures.intake()
        submissions = await together(_image(item, intake) for item in items)
        place = "items"
    return _answer(await rooms.indexing.index_images(who.tenant, submissions), place)


@router.post(
    "/texts",
    openapi_extra=takes(TextsToIndex),
    responses={200: {"model": IndexAnswer, "links": links_to_items("text")}},
)
async def index_texts(request: Request, rooms: Rooms, who: Who) -> Response:
    """Index 1 to 1000 texts, each a string or an object with an id and metadata; a bad one fails alone."""
    asked = await read_json(request, TextsToIndex)
    submissions = [_text(item) for item in asked.items]
    return _answer(await rooms.indexing.index_texts(who.tenant, submissions, long_text=asked.long_text), "items")


async def _uploads(form: FormData) -> list[Submission]:
    unknown = sorted(set(form) - {"files", "metadata", "ids"})
    if unknown:
        raise ValidationFailed(f"the form has unknown fields: {', '.join(unknown)[:200]}", loc=(unknown[0],))
    files = form.getlist("files")
    if not 1 <= len(files) <= MAX_IMAGES:
        raise ValidationFailed(f"{len(files)} files came; 1 to {MAX_IMAGES} are allowed in one request", loc=("files",))
    metadata = _per_file(form, "metadata", len(files))
    ids = _per_file(form, "ids", len(files))
    return [await _upload(file, item_id, fields) for file, item_id, fields in zip(files, ids, metadata, strict=True)]


def _per_file(form: FormData, name: str, count: int) -> list[Any]:
    given = form.getlist(name)
    if not given:
        return [None] * count
    if len(given) != 1 or not isinstance(given[0], str):
        raise ValidationFailed(f"{name} must be one field that holds a JSON list", loc=(name,))
    values = json_field(name, given[0])
    if not isinstance(values, list) or len(values) != count:
        came = f"{len(values)} entries" if isinstance(values, list) else "no list"
        raise ValidationFailed(f"{name} must be a JSON list with one entry per file, {count}; {came} came", loc=(name,))
    return values


async def _upload(file: UploadFile | str, item_id: Any, metadata: Any) -> Submission:
    try:
        if isinstance(file, str):
            raise ValidationFailed("a plain field came where a file is needed")
        if item_id is not None and not isinstance(item_id, str):
            raise ValidationFailed("the id must be a string")
        fields = None if metadata is None else check_metadata(metadata)
        return Submission(await file.read(), item_id, fields)
    except ClientError as fault:
        return Submission(id=item_id if isinstance(item_id, str) else None, fault=fault)


async def _image(item: Any, intake: Intake) -> Submission:
    try:
        given = _item(item, ImageSubmission)
        metadata = None if given.metadata is None else check_metadata(given.metadata)
        return Submission(await intake.bytes_of(given.image), given.id, metadata)
    except ClientError as fault:
        return Submission(id=_id_of(item), fault=fault)


def _text(item: Any) -> Submission:
    try:
        given = TextSubmission(text=item) if isinstance(item, str) else _item(item, TextSubmission)
        metadata = None if given.metadata is None else check_metadata(given.metadata)
        return Submission(_encode(given.text), given.id, metadata)
    except ClientError as fault:
        return Submission(id=_id_of(item), fault=fault)


def _encode(text: str) -> bytes:
    if not is_encodable(text):
        raise ValidationFailed("the text holds half of a surrogate pair, which is no character")
    return text.encode()


def _item(item: Any, model: type[M]) -> M:
    try:
        return model.model_validate(item, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part)[:MAX_ID_CHARS] for part in first["loc"]) or "item"
        raise ValidationFailed(f"{place}: {message_of(first)}") from None


def _id_of(item: Any) -> str | None:
    given = item.get("id") if isinstance(item, dict) else None
    return given if isinstance(given, str) else None


def _answer(results: Sequence[Indexed], place: str) -> Response:
    counts = Counter(result.status for result in results)
    members = {status.value: counts[status] for status in Status} | {"results": [_render(result) for result in results]}
    faults = [
        {"loc": [place, number], "msg": result.error.detail} for number, result in enumerate(results) if result.error
    ]
    if len(faults) < len(results):
        return Json(members)
    problem = ValidationFailed(f"none of the {len(results)} items could be indexed; see 'results'")
    kinds = {type(result.error) for result in results if result.error}
    if len(kinds) == 1 and (kind := kinds.pop()).status == problem.status:
        problem.code = kind.code
    return ProblemResponse(problem, faults=faults, members=members)


def _render(result: Indexed) -> dict[str, Any]:
    known = result.id is not None and is_encodable(result.id)
    rendered: dict[str, Any] = {
        "id": result.id[:MAX_ID_CHARS] if result.id is not None and known else None,
        "status": result.status.value,
    }
    if result.error is not None:
        rendered["error"] = {"code": result.error.code, "detail": result.error.detail}
    if result.tokens_used is not None:
        rendered |= {"tokens_used": result.tokens_used, "truncated": result.truncated}
    return rendered
