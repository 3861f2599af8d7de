"""What schemathesis cannot know from a schema to send a sound request; it loads this module by its name.

Sound requests are changed only in what JSON Schema has no words for: that bytes are a picture, that a cursor was given
out before, which policies are configured, that nobody likes and dislikes the same, how many conditions a filter has in
all. What cannot be drawn soundly or in time is taken from the schema before; the corpus of bad requests asks about it.
"""

import base64
import json
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from crossmodal.store.filters import MAX_CONDITIONS
from tests.pictures import encoded, photograph

PICTURES = [encoded(photograph(32, 24, seed=seed), kind) for seed in range(4) for kind in ("PNG", "JPEG")]
TEXTS = [base64.b64encode(content).decode() for content in PICTURES]
LONG = 8000
SERVED = "tiny"
"""The model of the server that is asked; no schema can say which it is."""
TWO_LABELS = ["a dog", "a cat"]
POLICY = "fruit"

schemathesis.openapi.format("picture", st.sampled_from(TEXTS))
schemathesis.openapi.format("binary", st.sampled_from(PICTURES))


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:  # noqa: ARG001  the hook's signature
    """Let filters hold no filters that hold filters, and forms no JSON in text but labels, which they need."""
    schemas = raw_schema.get("components", {}).get("schemas", {})
    if "Filter" in schemas:
        inner = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "boolean"}}
        inner["propertyNames"] = {"pattern": "^[a-z]$"}
        several = {"type": "array", "items": inner, "minItems": 1}
        schemas["Filter"]["properties"] = {"not": inner, "and": several, "or": several}
    for methods in raw_schema["paths"].values():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        form = content.get("multipart/form-data", {}).get("schema", {})
        fields = form.get("properties", {})
        for name in [name for name, field in fields.items() if field.get("contentMediaType") == "application/json"]:
            if name in form.get("required", ()):
                fields[name] = {"type": "string", "enum": [json.dumps(TWO_LABELS)]}
            else:
                del fields[name]


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:  # noqa: ARG001  the hook's signature
    """Leave out forms whose fault does not survive: in a form a number, a list or an object is text like any other."""
    if not isinstance(body, dict) or not {"file", "files"} & set(body):
        return True
    fields = {name: value for name, value in body.items() if name not in {"file", "files"}}
    return all(isinstance(value, str) or (_is_number(value) and name != "text") for name, value in fields.items())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ARG001  the hook's signature
    """Mend what is meant to be sound."""
    if case.query and len(str(case.query.get("filter"))) > LONG:
        del case.query["filter"]  # a request line of over 64 KiB is broken HTTP
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.query:
        case.query.pop("cursor", None)
        given = case.query.get("filter")
        if _conditions(json.loads(given) if isinstance(given, str) else given) > MAX_CONDITIONS:
            del case.query["filter"]
    if isinstance(case.body, dict) and case.media_type == "application/json":
        mended = _sound(case.body)
        if mended != case.body:
            case.body = mended


def _sound(body: dict[str, Any]) -> dict[str, Any]:
    mended = dict(body)
    if {"input", "model"} <= set(body):
        mended |= {"model": SERVED, "dimensions": None}
        if body.get("modality") == "image":
            given = body["input"]
            mended["input"] = [TEXTS[0] for _ in given] if isinstance(given, list) else TEXTS[0]
    for name, value in body.items():
        if name == "image" and isinstance(value, str) and value not in TEXTS:
            mended[name] = TEXTS[0]
        elif name == "images" and isinstance(value, list):
            mended[name] = [each if each in TEXTS else TEXTS[0] for each in value]
        elif name == "items" and isinstance(value, list):
            mended[name] = [_sound(each) if isinstance(each, dict) else each for each in value]
        elif name == "disliked" and isinstance(value, list):
            mended[name] = [each for each in value if each not in body.get("liked", ())]
        elif name == "policies" and isinstance(value, list):
            mended[name] = [POLICY for _ in value]
        elif name == "filter" and _conditions(value) > MAX_CONDITIONS:
            mended[name] = {}
    return mended


def _conditions(node: Any) -> int:
    """At least as many as a filter has."""
    if isinstance(node, dict):
        return len(node) + sum(map(_conditions, node.values()))
    return sum(map(_conditions, node)) if isinstance(node, list) else 0
