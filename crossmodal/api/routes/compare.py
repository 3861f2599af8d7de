"""`/similarity` and `/embed/*`: what the model makes of texts and pictures, without the store."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile

from crossmodal.api.bodies import JSON, MULTIPART, content_type, fields_of, file_of, read_form, read_json
from crossmodal.api.context import Rooms
from crossmodal.api.described import TEXT
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import takes
from crossmodal.api.problems import at
from crossmodal.api.schemas.base import MAX_IMAGES, Body
from crossmodal.api.schemas.compare import (
    Comparison,
    EmbeddingsAnswer,
    ImagesToEmbed,
    SimilarityAnswer,
    TextEmbeddingsAnswer,
    TextsToEmbed,
)
from crossmodal.encoder import Lane
from crossmodal.errors import ClientError, ValidationFailed
from crossmodal.records import Embeddings, LongText
from crossmodal.search.comparing import similarity
from crossmodal.search.intake import together
from crossmodal.search.reading import ReadTexts
from crossmodal.wiring import Container

router = APIRouter(route_class=DirectRoute, tags=["compare"])

_FEW = 4
"""Requests for more embeddings than this are bulk work: nobody waits for so many at a screen."""


class _TextField(Body):
    text: str


@router.post(
    "/similarity",
    openapi_extra=takes(Comparison, files=("file",), fields={"text": {"type": "string"} | TEXT}, required=("text",)),
    responses={200: {"model": SimilarityAnswer}},
)
async def compare(request: Request, rooms: Rooms) -> Json:
    """The cosine of a text and a picture and what it means, or the cosines of many with many."""
    if content_type(request, JSON, MULTIPART) == MULTIPART:
        async with read_form(request) as form:
            content = await file_of(form, "file")
            text = fields_of(form, _TextField).text
        return await _one(rooms, text, content, image_field="file")
    asked = await read_json(request, Comparison)
    given = {name for name in ("text", "image", "texts", "images") if getattr(asked, name) is not None}
    if given == {"text", "image"}:
        with at("image"):
            content = await rooms.pictures.bytes_of(asked.image or "")
        return await _one(rooms, asked.text or "", content, image_field="image")
    if given == {"texts", "images"}:
        contents = await _contents(asked.images or [], rooms)
        cosines = similarity(
            *await asyncio.gather(_texts(rooms, asked.texts or []), _pictures(rooms, contents, "images"))
        )
        return Json({"similarity": cosines})
    came = ", ".join(sorted(given)) or "none of them"
    raise ValidationFailed(f"'text' and 'image', or 'texts' and 'images', are needed; {came} came", loc=("text",))


@router.post("/embed/texts", openapi_extra=takes(TextsToEmbed), responses={200: {"model": TextEmbeddingsAnswer}})
async def embed_texts(request: Request, rooms: Rooms) -> Json:
    """Unit vectors of 1 to 1000 texts."""
    asked = await read_json(request, TextsToEmbed)
    read = await _read(rooms, asked.texts, asked.long_text)
    return await _vectors(rooms, read.embeddings, tokens_used=read.tokens_used, truncated=read.truncated)


@router.post(
    "/embed/images",
    openapi_extra=takes(ImagesToEmbed, files=("files",), fields={}),
    responses={200: {"model": EmbeddingsAnswer}},
)
async def embed_images(request: Request, rooms: Rooms) -> Json:
    """Unit vectors of 1 to 100 pictures; a bad one is named by its place and fails the request."""
    if content_type(request, JSON, MULTIPART) == MULTIPART:
        async with read_form(request) as form:
            files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
            if len(files) != len(form.multi_items()) or not 1 <= len(files) <= MAX_IMAGES:
                detail = f"1 to {MAX_IMAGES} files in the field 'files' are needed and nothing else; {len(files)} came"
                raise ValidationFailed(detail, loc=("files",))
            contents = [await file.read() for file in files]
        return await _vectors(rooms, await _pictures(rooms, contents, "files"))
    asked = await read_json(request, ImagesToEmbed)
    return await _vectors(rooms, await _pictures(rooms, await _contents(asked.images, rooms), "images"))


async def _one(rooms: Container, text: str, content: bytes, *, image_field: str) -> Json:
    async def embed_text() -> Embeddings:
        with _single("text"):
            return (await rooms.comparing.embed_texts([text])).embeddings

    async def embed_picture() -> Embeddings:
        with _single(image_field):
            return await rooms.comparing.embed_pictures([content])

    cosine = float(similarity(*await asyncio.gather(embed_text(), embed_picture()))[0, 0])
    return Json({"similarity": cosine, "relevance": await rooms.comparing.relevance(cosine)})


@contextmanager
def _single(field: str) -> Iterator[None]:
    """Name the field instead of place 0 of a list of one."""
    try:
        yield
    except ClientError as error:
        error.loc = (field,)
        raise


def _lane(count: int) -> Lane:
    return Lane.INTERACTIVE if count <= _FEW else Lane.BULK


async def _texts(rooms: Container, texts: list[str]) -> Embeddings:
    return (await _read(rooms, texts, "truncate")).embeddings


async def _read(rooms: Container, texts: list[str], long_text: LongText) -> ReadTexts:
    with at("texts"):
        return await rooms.comparing.embed_texts(texts, _lane(len(texts)), long_text)


async def _pictures(rooms: Container, contents: list[bytes], field: str) -> Embeddings:
    with at(field):
        return await rooms.comparing.embed_pictures(contents, _lane(len(contents)))


async def _contents(images: list[str], rooms: Container) -> list[bytes]:
    intake = rooms.pictures.intake()

    async def read(place: int, image: str) -> bytes:
        with at("images", place):
            return await intake.bytes_of(image)

    return await together(read(place, image) for place, image in enumerate(images))


async def _vectors(rooms: Container, embeddings: Embeddings, **members: Any) -> Json:
    info = await rooms.encoder.info()
    return Json({"embeddings": embeddings, "model": info.name, "dim": info.dim} | members)
