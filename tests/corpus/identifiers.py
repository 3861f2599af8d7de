"""Ids: of new items, of queries, in paths."""

from urllib.parse import quote

from tests.corpus.cases import Case, Collector
from tests.corpus.pictures import SEARCH, good
from tests.corpus.wire import as_json, data_url, form, part, request

INVALID = "validation_failed"


def _bad() -> dict[str, object]:
    return {
        "empty": "",
        "too-long": "x" * 257,
        "dots": "..",
        "dots-inside": "a/../b",
        "dot": "./a",
        "leading-slash": "/a",
        "trailing-slash": "a/",
        "double-slash": "a//b",
        "thumbnail": "a/thumbnail",
        "newline": "a\nb",
        "nul": "a\0b",
        "escape": "\x1b[31m",
        "invisible": "\u200b",
        "direction": "\u202ea",
        "number": 5,
        "list": ["a"],
        "true": True,
    }


def cases() -> list[Case]:
    given = Collector("ids")
    for name, value in _bad().items():
        texts = as_json("/index/texts", {"items": [{"text": "a new text", "id": value}]})
        given.add(f"id-{name}", "POST /index/texts", texts, 422, INVALID, sampled=name == "dots")
    image = data_url(good())
    for name in ("dots-inside", "thumbnail", "nul"):
        body = {"items": [{"image": image, "id": _bad()[name]}]}
        given.add(f"image-id-{name}", "POST /index/images", as_json("/index/images", body), 422, INVALID)
    surrogate = form("/index/images", part("files", good(), "x.png"), part("ids", r'["\ud800"]'))
    given.add("id-surrogate-form", "POST /index/images", surrogate, 422, INVALID)
    broken = b'{"items": [{"text": "a new text", "id": "\\ud800"}]}'
    given.add("id-surrogate-json", "POST /index/texts", as_json("/index/texts", broken), 400, "malformed_body")
    for name, value in {"empty": "", "too-long": "x" * 257, "number": 5}.items():
        given.add(f"query-id-{name}", f"POST {SEARCH}", as_json(SEARCH, {"id": value}), 422, INVALID)
    for name, value in {"unknown": "nobody", "odd": "../\0\u202e", "injection": "' OR 1=1 --"}.items():
        wire = as_json(SEARCH, {"id": value})
        given.add(f"query-id-{name}", f"POST {SEARCH}", wire, 404, "not_found", sampled=name == "unknown")
    for name, raw in {
        "unknown": "nobody",
        "long": "x" * 5000,
        "nul": "%00",
        "newline": "a%0Ab",
        "not-utf-8": "%ff%fe",
        "dots": "%2e%2e%2f%2e%2e%2fservice",
        "half-escape": "%zz",
        "emoji": quote("🍌"),
    }.items():
        for method in ("GET", "DELETE"):
            target = f"/items/image/{raw}"
            given.add(
                f"{method.lower()}-id-{name}",
                f"{method} /items/{{modality}}/{{id}}",
                request(method, target),
                404,
                "not_found",
            )
        given.add(f"image-of-{name}", "GET /images/{id}", request("GET", f"/images/{raw}"), 404, "not_found")
    return given.cases
