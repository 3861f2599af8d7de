"""Errors as `application/problem+json` (RFC 9457): one shape for everything that is not an answer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from crossmodal.api.encoding import dump_json
from crossmodal.api.wording import message_of
from crossmodal.errors import (
    ClientError,
    CrossModalError,
    DeadlineExceeded,
    MalformedBody,
    MethodNotAllowed,
    ModelUnavailable,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    ServerError,
    UnsupportedMediaType,
    ValidationFailed,
)
from crossmodal.telemetry import count_problem, request_id

MEDIA_TYPE = "application/problem+json"
_MAX_FAULTS = 20
"""So many of a body's faults are listed; a body can hold thousands."""
_OPENAI = "/v1/"
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_MAX_NAME = 100
"""Names of a body's members are the sender's: so many characters of them come back."""

log = structlog.get_logger()


class ProblemResponse(Response):
    """A response made from an error of the tree."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        error: CrossModalError,
        *,
        faults: Sequence[Mapping[str, Any]] = (),
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        counted: bool = True,
    ) -> None:
        """``faults`` become the member `errors`; ``members`` are further members of the problem; ``counted``: in metrics."""
        if counted:
            count_problem(error)
        self._members = problem_body(error, faults=faults, members=members)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        super().__init__(dump_json(self._members), status_code=error.status, headers=_retry_after(error) | given)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; below `/v1/` with the member that clients of OpenAI's API read."""
        if scope.get("path", "").removeprefix(scope.get("root_path", "")).startswith(_OPENAI):
            self.body = dump_json(self._members | {"error": _as_openai(self._members)})
            self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def _as_openai(members: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the words of OpenAI's API: without a ``message`` there its client shows nothing but the status."""
    faults = members.get("errors") or [{"loc": ()}]
    status = members["status"]
    server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return {
        "message": members["detail"],
        "type": _OPENAI_TYPES.get(status, "server_error" if server else "invalid_request_error"),
        "code": members["code"],
        "param": ".".join(map(str, faults[0]["loc"])) or None,
    }


def problem_body(
    error: CrossModalError, *, faults: Sequence[Mapping[str, Any]] = (), members: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The members of a problem. Details of server faults stay in the log; the client gets what it can act on."""
    body: dict[str, Any] = {
        "type": f"urn:crossmodal:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id.get(),
    }
    if not faults and isinstance(error, ClientError) and error.loc:
        faults = [{"loc": list(error.loc), "msg": error.detail}]
    if faults:
        body["errors"] = list(faults)
    return body | dict(members or {})


@contextmanager
def at(*loc: str | int) -> Iterator[None]:
    """Name the place in the request that the block deals with, for the errors it raises."""
    try:
        yield
    except ClientError as error:
        raise error.under(*loc) from error.__cause__


def faults_of(errors: Sequence[Mapping[str, Any]], prefix: Sequence[str | int] = ()) -> list[dict[str, Any]]:
    """Entries of `errors` from pydantic's."""
    return [{"loc": [*prefix, *map(_cut, error["loc"])], "msg": message_of(error)} for error in errors[:_MAX_FAULTS]]


def _cut(part: str | int) -> str | int:
    return part[:_MAX_NAME] if isinstance(part, str) else part


def validation_problem(error: ValidationError, prefix: Sequence[str | int] = ()) -> ProblemResponse:
    """The problem for a body that pydantic refused: malformed if it is no JSON at all."""
    errors = error.errors(include_url=False)
    if any(each["type"] == "json_invalid" for each in errors):
        return ProblemResponse(MalformedBody(f"the body is not valid JSON: {_json_fault(errors[0])}"))
    return ProblemResponse(_summary(errors), faults=faults_of(errors, prefix))


def _json_fault(error: Mapping[str, Any]) -> str:
    return str(error["msg"]).removeprefix("Invalid JSON: ")


def _summary(errors: Sequence[Any]) -> ValidationFailed:
    place = ".".join(str(part)[:_MAX_NAME] for part in errors[0]["loc"]) or "body"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ValidationFailed(f"{place}: {message_of(errors[0])}{more}")


def _retry_after(error: CrossModalError) -> dict[str, str]:
    seconds = getattr(error, "retry_after", None)
    return {} if seconds is None else {"retry-after": str(seconds)}


_BY_STATUS: Mapping[int, type[CrossModalError]] = {
    kind.status: kind
    for kind in (
        NotFound,
        MethodNotAllowed,
        MalformedBody,
        PayloadTooLarge,
        UnsupportedMediaType,
        Overloaded,
        ModelUnavailable,
        DeadlineExceeded,
    )
}


def from_status(status: int, detail: str) -> CrossModalError:
    """An error of the tree for a bare HTTP status, as frameworks raise them."""
    if (kind := _BY_STATUS.get(status)) is not None:
        return kind(detail)
    error = CrossModalError(detail) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ValidationFailed(detail)
    # One error object for one response: the class keeps its own status.
    error.status = status
    error.title = HTTPStatus(status).phrase
    return error


async def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, CrossModalError):
        if isinstance(error, ServerError):
            log.warning("request failed", code=error.code, detail=error.detail, cause=repr(error.__cause__))
        return ProblemResponse(error)
    if isinstance(error, RequestValidationError):
        errors = [{**each, "loc": each["loc"][1:] or each["loc"]} for each in error.errors()]
        return ProblemResponse(_summary(errors), faults=faults_of(errors))
    if isinstance(error, ValidationError):
        return validation_problem(error)
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = _allowed(request) or headers.get("Allow", "GET, HEAD")
            error.detail = f"{request.method[:_MAX_NAME]} came; this path takes {headers['Allow']}"
        return ProblemResponse(from_status(error.status_code, str(error.detail)), headers=headers)
    raise error


def _allowed(request: Request) -> str:
    """The methods that the API has for this path; the framework knows those of one route alone."""
    path = request.scope["path"]
    routes = [route for route in request.app.state.api_routes if route.path_regex.match(path)]
    return ", ".join(sorted({method for route in routes for method in route.methods}))


def install_problem_handlers(app: FastAPI) -> None:
    """Answer what a route raises with a problem; anything unforeseen is left to the edge."""
    for kind in (CrossModalError, RequestValidationError, ValidationError, HTTPException):
        app.add_exception_handler(kind, _on_error)
