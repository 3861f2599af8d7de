"""The OpenAPI document: bodies that are read by hand are described by hand, with the same models."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import crossmodal
from crossmodal.api import schemas
from crossmodal.api.problems import MEDIA_TYPE

_REF = "#/components/schemas/{model}"


def takes(
    model: type[BaseModel], *, files: tuple[str, ...] = (), fields: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The `requestBody` of a route that takes ``model`` as JSON and, with ``files``, a multipart form.

    ``files`` ending in s may repeat. ``fields`` are further form fields with their descriptions; without them the
    form takes the plain members of ``model``.
    """
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
    if files:
        binary = {"type": "string", "format": "binary"}
        properties = {name: {"type": "array", "items": binary} if name.endswith("s") else binary for name in files}
        plain = (
            fields
            if fields is not None
            else dict.fromkeys(set(schemas.Common.model_fields) & set(model.model_fields), "")
        )
        properties |= {name: {"type": "string", "description": text} for name, text in sorted(plain.items())}
        form = {"type": "object", "properties": properties, "required": list(files)}
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def install_openapi(app: FastAPI) -> None:
    """Serve a document that names every body and the problem response of every route."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Cross-modal search", version=crossmodal.__version__, description=schemas.__doc__, routes=app.routes
    )
    bodies = [kind for kind in vars(schemas).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    _, definitions = models_json_schema(
        [(kind, "validation") for kind in bodies if kind is not BaseModel], ref_template=_REF
    )
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(definitions["$defs"])
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]  # no key where none are configured
    problem = {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="ProblemAnswer")}}},
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = problem
    return document
