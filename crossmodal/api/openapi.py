"""The OpenAPI document: bodies that are read by hand are described by hand, with the same models."""

from collections.abc import Mapping
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import crossmodal
from crossmodal.api import schemas
from crossmodal.api.described import FILTER, PICTURE_FILE, component, resolved
from crossmodal.api.problems import MEDIA_TYPE
from crossmodal.api.schemas.base import MAX_IMAGES, Common

_ABOUT = "Search pictures and texts by meaning. Request bodies refuse members that are not listed here."
_REF = "#/components/schemas/{model}"
_JSON = "application/json"

_ANY_ROUTE = {400: "malformed_body", 401: "unauthorized", 403: "forbidden", 413: "payload_too_large", 422: "validation_failed",
              429: "overloaded or rate_limited", 500: "internal_error", 503: "store_unavailable or model_unavailable",
              504: "deadline_exceeded"}  # fmt: skip
"""By status, the codes of the problems that a request to any route may be answered with."""
_WITH_BODY = {415: "unsupported_media_type"}
_WITH_ITEM = {404: "not_found"}
_BY_NAME = ("/search", "/recommend", "/classify", "/moderate", "/describe", "/v1/")
"""Routes whose body may name an item or a model."""
_RETRY = {429, 503}


def takes(
    model: type[BaseModel],
    *,
    files: tuple[str, ...] = (),
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    required: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The `requestBody` of a route that takes ``model`` as JSON and, with ``files``, a multipart form.

    ``files`` ending in s may repeat. ``fields`` are the schemas of the form's other fields, ``required`` those of them
    that must be there; without them the form takes the common members of a search.
    """
    content: dict[str, Any] = {_JSON: {"schema": component(model.__name__)}}
    if files:
        plain = dict(fields) if fields is not None else _common_fields()
        properties = {name: _files(name) for name in files} | {name: plain[name] for name in sorted(plain)}
        form = {
            "type": "object",
            "properties": properties,
            "required": [*files, *required],
            "additionalProperties": False,
        }
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def json_text(description: str) -> dict[str, Any]:
    """The schema of a form field that holds JSON."""
    return {"type": "string", "contentMediaType": _JSON, "description": description}


def _files(name: str) -> dict[str, Any]:
    if not name.endswith("s"):
        return PICTURE_FILE
    return {"type": "array", "items": PICTURE_FILE, "minItems": 1, "maxItems": MAX_IMAGES}


def _common_fields() -> dict[str, Any]:
    members: dict[str, Any] = Common.model_json_schema()["properties"]
    return members | {"filter": json_text("conditions on metadata, as in the JSON body")}


def links_to_items(modality: str) -> dict[str, Any]:
    """Where an answer to an index request leads: its first item can be looked at and removed."""
    parameters = {"modality": modality, "item_id": "$response.body#/results/0/id"}
    return {
        "look": {"operationId": "get_item", "parameters": parameters},
        "remove": {"operationId": "delete_item", "parameters": parameters},
    }


def install_openapi(app: FastAPI) -> None:
    """Serve a document that names every body and the problem responses of every route."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Cross-modal search", version=crossmodal.__version__, description=_ABOUT, routes=app.routes
    )
    _, definitions = models_json_schema([(kind, "validation") for kind in schemas.bodies()], ref_template=_REF)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions["$defs"] | {"Filter": FILTER})
    components["headers"] = _HEADERS
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]  # no key where none are configured
    statuses = _ANY_ROUTE | _WITH_BODY | _WITH_ITEM
    components["responses"] = {f"Problem{status}": _problem(status, code) for status, code in statuses.items()}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            _complete(path, operation)
        if "get" in methods:
            methods["head"] = _head(methods["get"])
    result: dict[str, Any] = resolved(document)
    return result


_HEADERS = {
    "RequestId": {
        "description": "the request's own X-Request-ID, or one made for it",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "RetryAfter": {
        "description": "seconds after which the request may be sent again",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
}


def _problem(status: int, codes: str) -> dict[str, Any]:
    headers = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status in _RETRY:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return {
        "description": f"{HTTPStatus(status).phrase}: {codes}",
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="ProblemAnswer")}}},
    }


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Give an operation its problems, and its answers the header that all have."""
    for parameter in operation.get("parameters", []):
        if parameter["name"] == "filter":
            del parameter["schema"]
            parameter["content"] = {_JSON: {"schema": component("Filter")}}
    responses = operation["responses"]
    responses.pop("422", None)
    for answer in responses.values():
        answer.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/RequestId"}
    statuses = dict(_ANY_ROUTE)
    if "requestBody" in operation:
        statuses |= _WITH_BODY
    if "{" in path or path.startswith(_BY_NAME):
        statuses |= _WITH_ITEM
    responses |= {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(statuses)}


def _head(get: dict[str, Any]) -> dict[str, Any]:
    """The HEAD of a GET: the same without bodies."""
    head = deepcopy(get)
    head["operationId"] = f"{get['operationId']}_head"
    head["summary"] = f"{get['summary']}: headers alone"
    for answer in head["responses"].values():
        answer.pop("content", None)
        answer.pop("links", None)
    return head
