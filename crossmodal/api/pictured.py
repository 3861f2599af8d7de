"""Bodies about one picture: multipart with the picture in `file`, or JSON with `image` or `id`; the options beside it."""

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel

from crossmodal.api.bodies import JSON, MULTIPART, content_type, fields_of, file_of, read_form, read_json
from crossmodal.api.schemas.base import PictureBody
from crossmodal.errors import ValidationFailed
from crossmodal.search.seeing import PictureSource

W = TypeVar("W", bound=PictureBody)
O = TypeVar("O", bound=BaseModel)  # noqa: E741 -- options, as W is the whole body


async def read_pictured(
    request: Request, whole: type[W], options: type[O], *, parsed: tuple[str, ...] = ()
) -> tuple[PictureSource, W | O]:
    """Where the picture is, and the body's other members.

    ``whole`` is the JSON body, ``options`` the same without its picture: the plain fields of the form, of which those in
    ``parsed`` hold JSON. Raises what ``crossmodal.api.bodies`` raises.
    """
    if content_type(request, JSON, MULTIPART) == MULTIPART:
        async with read_form(request) as form:
            content = await file_of(form, "file")
            return PictureSource(content=content, loc=("file",)), fields_of(form, options, parsed=parsed)
    asked = await read_json(request, whole)
    need_one("image", asked.image, "id", asked.id)
    if asked.id is not None:
        return PictureSource(id=asked.id, loc=("id",)), asked
    return PictureSource(text=asked.image, loc=("image",)), asked


def need_one(first: str, given: object, second: str, other: object) -> None:
    """Check that one of two members was given, called ``first`` and ``second``. Raises ``ValidationFailed``."""
    if (given is None) == (other is None):
        raise ValidationFailed(f"exactly one of {first!r} and {second!r} is needed", loc=(first,))
