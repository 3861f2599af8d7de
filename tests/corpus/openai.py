"""`/v1/*`: what clients of OpenAI's API may send that is not taken."""

import base64

from tests.corpus.cases import Case, Collector
from tests.corpus.pictures import good
from tests.corpus.wire import as_json, data_url, request

ROUTE = "/v1/embeddings"
MODEL = "tiny"
INVALID = "validation_failed"


def _inputs() -> dict[str, object]:
    return {
        "nothing": [],
        "empty": "",
        "blank-among-others": ["a dog", " "],
        "null": None,
        "number": 5,
        "object": {"text": "a"},
        "null-inside": ["a", None],
        "tokens": [320, 1929],
        "lists-of-tokens": [[320, 1929], [320]],
        "too-many": ["a"] * 1001,
        "too-many-pictures": ["data:image/png;base64,eA=="] * 101,
        "picture-not-base64": ["a", "data:image/png;base64,%%%%"],
        "picture-without-data": "data:image/png;base64,",
    }


def cases() -> list[Case]:
    given = Collector("openai")
    route = f"POST {ROUTE}"
    for name, value in _inputs().items():
        wire = as_json(ROUTE, {"input": value, "model": MODEL})
        given.add(f"v1-input-{name}", route, wire, 422, INVALID, sampled=name == "tokens")
    members: dict[str, dict[str, object]] = {
        "dimensions": {"dimensions": 5},
        "dimensions-0": {"dimensions": 0},
        "dimensions-string": {"dimensions": "256"},
        "format": {"encoding_format": "int8"},
        "modality": {"modality": "audio"},
        "user-object": {"user": {}},
        "model-missing": {"model": None},
        "unknown-member": {"prompt": "a"},
        "address": {"input": "http://127.0.0.1:1/x.png", "modality": "image"},
        "file": {"input": "file:///x.png", "modality": "image"},
    }
    for name, more in members.items():
        given.add(f"v1-{name}", route, as_json(ROUTE, {"input": "a dog", "model": MODEL} | more), 422, INVALID)
    junk = "data:image/png;base64," + base64.b64encode(b"junk").decode()
    given.add("v1-junk", route, as_json(ROUTE, {"input": ["a", junk], "model": MODEL}), 422, "image_undecodable")
    long = as_json(ROUTE, {"input": "x" * 10_001, "model": MODEL})
    given.add("v1-too-long", route, long, 422, "text_too_long")
    for name in ("text-embedding-3-small", "", "TINY", "../tiny", "x" * 5000):
        wire = as_json(ROUTE, {"input": "a", "model": name})
        given.add(f"v1-model-{name[:24] or 'empty'}", route, wire, 404, "not_found", sampled=not name)
    plain = request("POST", ROUTE, b"input=a", headers=[("Content-Type", "text/plain")])
    given.add("v1-form", route, plain, 415, "unsupported_media_type")
    for name, target in {"unknown": "/v1/models/none", "slashes": "/v1/models/a%2fb/c", "empty": "/v1/models/"}.items():
        given.add(f"v1-models-{name}", "GET /v1/models/{id}", request("GET", target), 404, "not_found")
    for method, target in (("GET", ROUTE), ("POST", "/v1/models"), ("DELETE", "/v1/models/tiny")):
        name = f"v1-{method.lower()}-{target.rpartition('/')[2]}"
        given.add(name, f"{method} {target}", request(method, target), 405, "method_not_allowed")
    mixed = {"input": ["a dog", data_url(good()), "<end_of_text>"], "model": MODEL, "encoding_format": "base64"}
    given.add("v1-mixed", route, as_json(ROUTE, mixed), 200, sampled=True)
    given.add("v1-model", "GET /v1/models/{id}", request("GET", "/v1/models/tiny"), 200)
    return given.cases
