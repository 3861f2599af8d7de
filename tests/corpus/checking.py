"""The rules every answer must keep, in one function."""

import json
import re

from tests.corpus.cases import GOOD, Case
from tests.corpus.wire import Answer

PROBLEM = "application/problem+json"
MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
RETRY = {429, 503}
_FIRST_ERROR = 400
_METHOD_NOT_ALLOWED = 405

_LEAKS = re.compile(
    r"Traceback|site-packages|\.py\b|0x[0-9a-f]{6,}|instance of"
    r"|/(?:root|tmp|work|usr|var|opt|srv|home|etc|proc)/\w"
    r"|\b[A-Z][A-Za-z]*(?:Error|Exception|Warning)\b"
    r"|\b(?:crossmodal|service|indexer)\.\w+"
    r"|\b(?:starlette|fastapi|pydantic|pydantic_core|bentoml|uvicorn|httptools|uvloop|h11|python_multipart|orjson"
    r"|PIL|torch|open_clip|numpy|qdrant\w*|asyncio|sys\.\w+)\b"
)


def faults(case: Case, answer: Answer) -> list[str]:
    """What is wrong with ``answer``, a line each; none if it is what the contract promises."""
    if answer.hung:
        return [f"no answer within {case.patience:g} s"]
    if answer.status is None or case.status is None:
        return [] if answer.status == case.status else [f"status {answer.status}, not {case.status}"]
    found = [] if answer.status == case.status else [f"status {answer.status}, not {case.status}"]
    if answer.seconds > case.patience:
        found.append(f"answered after {answer.seconds:.1f} s; {case.patience:g} s are allowed")
    found += _leaks(answer)
    if not answer.headers.get("X-Request-ID"):
        found.append("no X-Request-ID header")
    if answer.status in RETRY and not (answer.headers.get("Retry-After") or "").isdecimal():
        found.append("no Retry-After header in whole seconds")
    if answer.status == _METHOD_NOT_ALLOWED and not answer.headers.get("Allow"):
        found.append("no Allow header")
    if answer.status < _FIRST_ERROR:
        return found if case.code == GOOD else [*found, f"a success where the code {case.code} is due"]
    return found + (_head_faults(answer) if case.route.startswith("HEAD ") else _problem_faults(case, answer))


def _leaks(answer: Answer) -> list[str]:
    said = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    if (answer.headers.get("Content-Type") or "").startswith(("application/", "text/plain", "text/html")):
        said += "\n" + answer.body.decode("utf-8", "replace").replace("urn:crossmodal:problem:", "")
    return [f"tells of the inside: {match[0]!r}" for match in _LEAKS.finditer(said)]


def _head_faults(answer: Answer) -> list[str]:
    kind = answer.headers.get("Content-Type")
    found = [] if kind == PROBLEM else [f"content type {kind!r}, not {PROBLEM!r}"]
    return [*found, "a body in answer to HEAD"] if answer.body else found


def _problem_faults(case: Case, answer: Answer) -> list[str]:
    kind = answer.headers.get("Content-Type")
    if kind != PROBLEM:
        return [f"content type {kind!r}, not {PROBLEM!r}"]
    try:
        body = json.loads(answer.body)
    except ValueError:
        return ["the body is not JSON"]
    if not isinstance(body, dict):
        return ["the body is not an object"]
    found = [f"the member {name!r} is missing or empty" for name in sorted(MEMBERS) if not body.get(name)]
    if body.get("code") != case.code:
        found.append(f"code {body.get('code')!r}, not {case.code!r}")
    if body.get("status") != answer.status:
        found.append(f"the member 'status' is {body.get('status')!r}, the status {answer.status}")
    if body.get("request_id") != answer.headers.get("X-Request-ID"):
        found.append("the member 'request_id' is not the X-Request-ID header")
    return found
