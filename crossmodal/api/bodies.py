"""Request bodies in: JSON or multipart by their content type, each checked once, here.

Routes that take a picture take it either way, so the two are read by hand and documented together; see
``crossmodal.api.openapi``.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from crossmodal.errors import MalformedBody, UnsupportedMediaType, ValidationFailed

JSON = "application/json"
MULTIPART = "multipart/form-data"
_MAX_PARTS = 1000

M = TypeVar("M", bound=BaseModel)


def content_type(request: Request, *allowed: str) -> str:
    """The body's content type, lower case, without parameters. Raises ``UnsupportedMediaType`` if not ``allowed``."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in allowed:
        came = f"a body of type {given!r}" if given else "a body without a content type"
        raise UnsupportedMediaType(f"{came} came; this route takes {' or '.join(allowed)}")
    return given


async def read_json(request: Request, model: type[M]) -> M:
    """The JSON body as ``model``. Raises ``UnsupportedMediaType``, ``PayloadTooLarge`` or pydantic's error."""
    content_type(request, JSON)
    return model.model_validate_json(await request.body(), strict=True)


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """The multipart body; its files are closed at the end. Raises ``MalformedBody``."""
    content_type(request, MULTIPART)
    try:
        form = await request.form(max_files=_MAX_PARTS, max_fields=_MAX_PARTS)
    except HTTPException as error:
        raise MalformedBody(f"the multipart body cannot be parsed: {error.detail}") from error
    try:
        yield form
    finally:
        await form.close()


async def file_of(form: FormData, name: str) -> bytes:
    """The bytes of the one file called ``name``. Raises ``ValidationFailed``."""
    files = form.getlist(name)
    if len(files) != 1 or not isinstance(files[0], UploadFile):
        came = f"{len(files)} came" if len(files) != 1 else "a plain field came"
        raise ValidationFailed(f"exactly one file is needed in the field {name!r}; {came}", loc=(name,))
    return await files[0].read()


def fields_of(form: FormData, model: type[M], *, parsed: tuple[str, ...] = ()) -> M:
    """The plain fields as ``model``, numbers read from their text; those in ``parsed`` hold JSON.

    Files and fields are told apart by their names: only those of ``model`` are looked at, others are refused by it.
    Raises ``ValidationFailed`` or pydantic's error.
    """
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            continue
        if name in values:
            raise ValidationFailed(f"the field {name!r} came twice", loc=(name,))
        values[name] = json_field(name, value) if name in parsed else value
    return model.model_validate(values)


def json_field(name: str, text: str) -> Any:
    """The JSON in a form field or query parameter. Raises ``ValidationFailed``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationFailed(f"{name} is not valid JSON: {error}", loc=(name,)) from error
