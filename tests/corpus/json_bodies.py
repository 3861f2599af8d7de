"""JSON bodies: no JSON, JSON of another shape, JSON that is all structure."""

from collections.abc import Callable

from tests.corpus.cases import Case, Collector
from tests.corpus.texts import SEARCH
from tests.corpus.wire import as_json

BROKEN = "malformed_body"
INVALID = "validation_failed"
LARGE = "payload_too_large"


def _deep(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return b'{"query": "a", "filter": ' + opening * levels + b"1" + closing * levels + b"}"


def _malformed() -> dict[str, bytes]:
    good = b'{"query": "a"}'
    return {
        "nothing": b"",
        "blank": b"  \n",
        "cut": good[:-1],
        "cut-in-string": b'{"query": "a',
        "cut-in-escape": b'{"query": "a\\',
        "cut-in-literal": b'{"query": tru',
        "single-quotes": b"{'query': 'a'}",
        "bare-word": b"hello",
        "trailing-comma": b'{"query": "a",}',
        "trailing-garbage": good + b"x",
        "two-documents": good + good,
        "comment": b'{"query": "a" /* b */}',
        "bare-key": b'{query: "a"}',
        "no-colon": b'{"query" "a"}',
        "raw-newline": b'{"query": "a\nb"}',
        "bad-escape": b'{"query": "\\x41"}',
        "bad-unicode-escape": b'{"query": "\\u12"}',
        "byte-order-mark": b"\xef\xbb\xbf" + good,
        "utf-16": good.decode().encode("utf-16"),
        "utf-16-no-mark": good.decode().encode("utf-16-le"),
        "utf-32": good.decode().encode("utf-32"),
        "latin-1": b'{"query": "stra\xdfe"}',
        "overlong-utf-8": b'{"query": "\xc0\xaf"}',
        "nul-after": good + b"\0",
        "leading-zero": b'{"query": "a", "n_results": 05}',
        "plus-sign": b'{"query": "a", "n_results": +5}',
        "hex-number": b'{"query": "a", "n_results": 0x5}',
        "form-encoded": b"query=a&n_results=5",
        "deep-33": _deep(33),
        "deep-10000": _deep(10_000),
        "deep-10000-objects": _deep(10_000, b'{"not":', b"}"),
        "deep-unclosed": b"[" * 100_000,
        "deep-only": b"[" * 10_000 + b"]" * 10_000,
        "quotes-only": b'"' * 100_001,
        "backslashes": b'"' + b"\\" * 1_000_001,
    }


def _structure() -> dict[str, Callable[[], bytes]]:
    """Bodies within the limit of bytes whose values would take far more memory than they."""
    return {
        "empty-lists": lambda: b'{"items": [' + b"[]," * 6_000_000 + b"[]]}",
        "empty-objects": lambda: b'{"items": [' + b"{}," * 6_000_000 + b"{}]}",
        "zeros": lambda: b'{"items": [' + b"0," * 9_000_000 + b"0]}",
        "keys": lambda: b'{"items": [{' + b'"":0,' * 3_500_000 + b'"":0}]}',
    }


def _invalid() -> dict[str, bytes]:
    return {
        "root-list": b"[]",
        "root-string": b'"a"',
        "root-number": b"5",
        "root-null": b"null",
        "root-true": b"true",
        "no-members": b"{}",
        "unknown-member": b'{"query": "a", "n_result": 5}',
        "other-case": b'{"Query": "a"}',
        "prototype": b'{"query": "a", "__proto__": {"x": 1}}',
        "query-null": b'{"query": null}',
        "query-number": b'{"query": 5}',
        "query-list": b'{"query": ["a"]}',
        "query-object": b'{"query": {"a": 1}}',
        "filter-string": b'{"query": "a", "filter": "a"}',
        "filter-list": b'{"query": "a", "filter": []}',
        "huge-integer": b'{"query": "a", "n_results": ' + b"9" * 400 + b"}",
        "huge-exponent": b'{"query": "a", "n_results": 1e400}',
        "tiny-exponent": b'{"query": "a", "n_results": 1e-400}',
        "nan": b'{"query": "a", "n_results": NaN}',
        "infinity": b'{"query": "a", "min_relevance": Infinity}',
        "minus-infinity": b'{"query": "a", "diversity": -Infinity}',
        "many-unknown": b'{"query": "a"' + b"".join(b', "k%d": 1' % index for index in range(5000)) + b"}",
        "long-key": b'{"query": "a", "' + b"k" * 1_000_000 + b'": 1}',
    }


def cases() -> list[Case]:
    given = Collector("json")
    route = f"POST {SEARCH}"
    for name, body in _malformed().items():
        given.add(f"json-{name}", route, as_json(SEARCH, body), 400, BROKEN, sampled=name == "cut")
    for name, body in _invalid().items():
        given.add(f"json-{name}", route, as_json(SEARCH, body), 422, INVALID, sampled=name == "unknown-member")
    given.add("json-deep-1000000", route, lambda: as_json(SEARCH, _deep(1_000_000)), 413, LARGE)
    for name, build in _structure().items():
        given.add(f"json-many-{name}", "POST /index/texts", _lazily(build), 413, LARGE, sampled=name == "zeros")
    digits = b'{"query": "a", "n_results": ' + b"9" * 100_000 + b"}"
    given.add("json-100000-digits", route, as_json(SEARCH, digits), 400, BROKEN)
    _items(given)
    given.add("json-doubled-key", route, as_json(SEARCH, b'{"query": "a", "query": "a cat"}'), 200)
    given.add("json-brackets-in-text", route, as_json(SEARCH, {"query": "[{" * 4000}), 200)
    return given.cases


_NO_LISTS: dict[str, object] = {"none": [], "no-list": "a", "null": None, "object": {}}
_NO_TEXTS: dict[str, object] = {
    "number": 5,
    "null": None,
    "list": [],
    "empty-object": {},
    "number-text": {"text": 5},
    "unknown": {"text": "a", "tag": 1},
}
_NO_PICTURES: dict[str, object] = {
    "string": "a",
    "number": 5,
    "no-image": {"id": "a"},
    "image-number": {"image": 5},
}
_NO_PAIRS: dict[str, object] = {
    "text-only": {"text": "a"},
    "texts-and-image": {"texts": ["a"], "image": "x"},
    "nothing": {},
}


def _items(given: Collector) -> None:
    """Lists that are none, too long, or of things that are no items."""
    for target in ("/index/texts", "/index/images", "/embed/texts", "/embed/images"):
        _, verb, kind = target.split("/")
        member = "items" if verb == "index" else kind
        for what, value in _NO_LISTS.items():
            wire = as_json(target, {member: value})
            given.add(f"{verb}-{kind}-{what}", f"POST {target}", wire, 422, INVALID)
    for target, count in {"/index/texts": 1001, "/index/images": 101}.items():
        wire = as_json(target, {"items": ["a"] * count})
        given.add(f"index-{count}", f"POST {target}", wire, 422, INVALID)
    for target, items in {"/index/texts": _NO_TEXTS, "/index/images": _NO_PICTURES}.items():
        for name, item in items.items():
            wire = as_json(target, {"items": [item]})
            given.add(f"{target[1:-1].replace('/', '-')}-{name}", f"POST {target}", wire, 422, INVALID)
    for name, pair in _NO_PAIRS.items():
        given.add(f"similarity-{name}", "POST /similarity", as_json("/similarity", pair), 422, INVALID)


def _lazily(build: Callable[[], bytes]) -> Callable[[], bytes]:
    return lambda: as_json("/index/texts", build())
