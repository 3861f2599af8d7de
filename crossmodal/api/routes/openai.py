"""`/v1/*`: embeddings and the model's name for clients of OpenAI's API. What is refused is said as everywhere, see problems."""

import base64
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request

from crossmodal.api.bodies import read_json
from crossmodal.api.context import Rooms
from crossmodal.api.direct import DirectRoute
from crossmodal.api.encoding import Json
from crossmodal.api.openapi import takes
from crossmodal.api.problems import at
from crossmodal.api.schemas.base import MAX_IMAGES
from crossmodal.api.schemas.openai import EmbeddingListAnswer, EmbeddingsToCreate, ModelAnswer, ModelListAnswer
from crossmodal.clip.base import ModelInfo
from crossmodal.encoder import Lane
from crossmodal.errors import NotFound, ValidationFailed
from crossmodal.records import Embedding
from crossmodal.search.intake import together
from crossmodal.wiring import Container

router = APIRouter(route_class=DirectRoute, prefix="/v1", tags=["openai"])

_FEW = 4
"""Requests for more embeddings than this are bulk work, as in `/embed/*`."""
_PICTURE = "data:image/"
_PREVIEW = 100


@router.post("/embeddings", openapi_extra=takes(EmbeddingsToCreate), responses={200: {"model": EmbeddingListAnswer}})
async def create_embeddings(request: Request, rooms: Rooms) -> Json:
    """Unit vectors of 1 to 1000 texts and pictures, of which at most 100 pictures."""
    asked = await read_json(request, EmbeddingsToCreate)
    info = await rooms.encoder.info()
    with at("model"):
        _check_model(info, asked.model)
    if asked.dimensions not in {None, info.dim}:
        detail = f"{asked.dimensions} dimensions were asked for; the embeddings of this model have {info.dim}"
        raise ValidationFailed(detail, loc=("dimensions",))
    lane = Lane.INTERACTIVE if len(asked.input) <= _FEW else Lane.BULK
    with at("input"):
        contents = await _contents(rooms, asked.input, asked.modality)
        embeddings, tokens = await rooms.comparing.embed_mixed(contents, lane, asked.long_text)
    data = [
        {"object": "embedding", "index": index, "embedding": _written(row, asked.encoding_format)}
        for index, row in enumerate(embeddings)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Json({"object": "list", "data": data, "model": info.name, "usage": usage})


@router.head("/models", include_in_schema=False)
@router.get("/models", responses={200: {"model": ModelListAnswer}})
async def list_models(rooms: Rooms) -> Json:
    """The one model that is served."""
    return Json({"object": "list", "data": [_model(await rooms.encoder.info())]})


@router.head("/models/{model_id:path}", include_in_schema=False)
@router.get("/models/{model_id:path}", responses={200: {"model": ModelAnswer}})
async def get_model(model_id: str, rooms: Rooms) -> Json:
    """The model, by its name, slashes and all."""
    info = await rooms.encoder.info()
    _check_model(info, model_id)
    return Json(_model(info))


def _model(info: ModelInfo) -> dict[str, Any]:
    return {"id": info.name, "object": "model", "created": 0, "owned_by": "crossmodal"}


def _check_model(info: ModelInfo, name: str) -> None:
    if name != info.name:
        raise NotFound(f"there is no model {name[:_PREVIEW]!r} here; {info.name!r} is served")


async def _contents(rooms: Container, given: Sequence[str], modality: str | None) -> list[str | bytes]:
    """The texts as they are and the pictures as bytes."""
    intake = rooms.pictures.intake()
    pictures = [
        modality == "image" or (modality is None and each[: len(_PICTURE)].lower() == _PICTURE) for each in given
    ]
    if sum(pictures) > MAX_IMAGES:
        raise ValidationFailed(f"{sum(pictures)} pictures came; at most {MAX_IMAGES} are allowed in one request")

    async def content(place: int) -> str | bytes:
        if not pictures[place]:
            return given[place]
        with at(place):
            return await intake.bytes_of(given[place])

    return await together(content(place) for place in range(len(given)))


def _written(row: Embedding, encoding_format: str) -> Embedding | str:
    return row if encoding_format == "float" else base64.b64encode(row.astype("<f4").tobytes()).decode()
