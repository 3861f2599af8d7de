"""Request bodies in: JSON or multipart by their content type, each checked once, here.

Routes that take a picture take it either way, so the two are read by hand and documented together; see
``crossmodal.api.openapi``.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from crossmodal.api.structure import check_structure
from crossmodal.errors import ClientError, MalformedBody, UnsupportedMediaType, ValidationFailed

JSON = "application/json"
MULTIPART = "multipart/form-data"
_MAX_PARTS = 1000
_SWITCH = {"true": True, "false": False}
_CHARSETS = {b"utf-8", b"utf8", b"us-ascii"}
_TAIL = 1024
"""Bytes at the end of a body among which the closing boundary must be: at most 70 of boundary, and what may follow."""

M = TypeVar("M", bound=BaseModel)


def content_type(request: Request, *allowed: str) -> str:
    """The body's content type, lower case, without parameters.

    Raises ``UnsupportedMediaType`` if it is not ``allowed`` or the body is compressed.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedMediaType("a body with a content encoding came; bodies are taken as they are, uncompressed")
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in allowed:
        came = f"a body of type {given!r}" if given else "a body without a content type"
        raise UnsupportedMediaType(f"{came} came; this route takes {' or '.join(allowed)}")
    return given


async def read_json(request: Request, model: type[M]) -> M:
    """The JSON body as ``model``.

    Raises ``UnsupportedMediaType``, ``PayloadTooLarge``, ``MalformedBody`` or pydantic's error.
    """
    content_type(request, JSON)
    body = await request.body()
    check_structure(body)
    return model.model_validate_json(body, strict=True)


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """The multipart body; its files are closed at the end. Raises ``MalformedBody`` or ``UnsupportedMediaType``."""
    content_type(request, MULTIPART)
    body = _WholeBody(request)
    try:
        form = await _StrictParser(request.headers, body.stream(), max_files=_MAX_PARTS, max_fields=_MAX_PARTS).parse()
    except MultiPartException as error:
        raise body.fault or MalformedBody(f"the multipart body cannot be parsed: {error.message}") from error
    try:
        yield form
    finally:
        await form.close()


class _StrictParser(MultiPartParser):
    """Refuses a field that is not UTF-8, which its base would read as Latin-1."""

    def on_part_end(self) -> None:
        """Check a field, and let the base keep it."""
        if self._current_part.file is None:
            try:
                self._current_part.data.decode()
            except UnicodeDecodeError as error:
                name = self._current_part.field_name[:40]
                raise MultiPartException(f"the field {name!r} is not text in UTF-8") from error
        super().on_part_end()


class _WholeBody:
    """A multipart body on its way to the parser, which drops an unfinished part without a word.

    Whatever is wrong reaches the parser as its own exception, the only one on which it closes its temporary files;
    ``fault`` is then what was wrong.
    """

    def __init__(self, request: Request) -> None:
        self.fault: ClientError | None = None
        self._request = request
        _, options = parse_options_header(request.headers["content-type"])
        if b"boundary" not in options:
            raise MalformedBody("the multipart body cannot be parsed: its content type names no boundary")
        if options.get(b"charset", b"utf-8").lower() not in _CHARSETS:
            raise UnsupportedMediaType("the multipart body declares another charset than UTF-8; its fields are UTF-8")
        self._end = b"--" + options[b"boundary"] + b"--"

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body's chunks. Raises ``MultiPartException`` if it is too large or does not end."""
        tail = b""
        try:
            async for chunk in self._request.stream():
                tail = (tail + chunk)[-_TAIL:]
                yield chunk
        except ClientError as error:
            self.fault = error
        if self.fault is None and self._end not in tail:
            self.fault = MalformedBody("the multipart body ends before its closing boundary: it was cut off on the way")
        if self.fault is not None:
            raise MultiPartException(self.fault.detail)


async def file_of(form: FormData, name: str) -> bytes:
    """The bytes of the one file called ``name``. Raises ``ValidationFailed``."""
    files = form.getlist(name)
    if len(files) != 1 or not isinstance(files[0], UploadFile):
        came = f"{len(files)} came" if len(files) != 1 else "a plain field came"
        raise ValidationFailed(f"exactly one file is needed in the field {name!r}; {came}", loc=(name,))
    return await files[0].read()


def fields_of(form: FormData, model: type[M], *, parsed: tuple[str, ...] = (), file: str = "file") -> M:
    """The plain fields as ``model``, numbers read from their text; those in ``parsed`` hold JSON, switches true or false.

    ``file`` is the one field that is left aside; fields that ``model`` does not have are refused by it. Raises
    ``ValidationFailed`` or pydantic's error.
    """
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == file:
            continue
        if isinstance(value, UploadFile):
            raise ValidationFailed(f"a file came in the field {name[:40]!r}, where none is taken", loc=(name,))
        if name in values:
            raise ValidationFailed(f"the field {name!r} came twice", loc=(name,))
        values[name] = json_field(name, value) if name in parsed else _plain(model, name, value)
    return model.model_validate(values)


def _plain(model: type[BaseModel], name: str, text: str) -> Any:
    """A switch by the two words that JSON has for it, not the dozen that pydantic knows; anything else as it came."""
    field = model.model_fields.get(name)
    return _SWITCH.get(text, text) if field is not None and field.annotation is bool else text


def json_field(name: str, text: str) -> Any:
    """The JSON in a form field or query parameter. Raises ``ValidationFailed``."""
    try:
        check_structure(text.encode(errors="replace"))
        return json.loads(text)
    except ClientError as error:
        raise ValidationFailed(f"{name}: {error.detail}", loc=(name,)) from error
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
    except ValueError:
        reason = "a number has too many digits"
    raise ValidationFailed(f"{name} is not valid JSON: {reason}", loc=(name,))
