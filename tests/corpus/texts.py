"""Texts: nothing in them, too much in them, characters that are none."""

from tests.corpus.cases import Case, Collector
from tests.corpus.wire import as_json

SEARCH = "/search/text-to-image"
INVALID = "validation_failed"


def _says_nothing() -> dict[str, str]:
    return {
        "empty": "",
        "blank": "   ",
        "newlines": "\r\n\t\v\f",
        "zero-width": "\u200b\u200c\u200d\ufeff",
        "direction-marks": "\u200e\u200f\u202e\u2066",
        "control": "\x01\x02\x7f\x9f",
        "nul": "\0",
        "ideographic-space": "\u3000\u2003",
        "tags": "\U000e0041\U000e0042",
    }


def cases() -> list[Case]:
    given = Collector("texts")
    for name, text in _says_nothing().items():
        wire = as_json(SEARCH, {"query": text})
        given.add(f"text-{name}", f"POST {SEARCH}", wire, 422, INVALID, sampled=name == "empty")
    for route, body in {
        "/search/similar-texts": {"query": " "},
        "/embed/texts": {"texts": ["fine", ""]},
        "/index/texts": {"items": ["", {"text": "\u200b"}]},
    }.items():
        given.add(f"nothing-to{route.replace('/', '-')}", f"POST {route}", as_json(route, body), 422, INVALID)
    for name, escape in {"leading": r"\ud800", "trailing": r"\udc00", "swapped": r"\udc00\ud800"}.items():
        body = b'{"query": "a ' + escape.encode() + b'"}'
        given.add(f"surrogate-{name}", f"POST {SEARCH}", as_json(SEARCH, body), 400, "malformed_body")
    encoded = b'{"query": "a \xed\xa0\x80"}'
    given.add("surrogate-encoded", f"POST {SEARCH}", as_json(SEARCH, encoded), 400, "malformed_body")
    long = "x" * 10_001
    for route, whole in {
        SEARCH: {"query": long},
        "/search/similar-texts": {"query": long},
        "/embed/texts": {"texts": ["fine", long]},
        "/index/texts": {"items": [long]},
    }.items():
        sampled = route == "/embed/texts"
        wire = as_json(route, whole)
        given.add(f"too-long{route.replace('/', '-')}", f"POST {route}", wire, 422, "text_too_long", sampled=sampled)
    sound: dict[str, dict[str, object]] = {
        SEARCH: {"query": "a"},
        "/search/similar-texts": {"query": "a"},
        "/embed/texts": {"texts": ["a"]},
        "/index/texts": {"items": ["a"]},
    }
    odd: dict[str, object] = {"unknown": "halve", "case": "SPLIT", "list": ["split"], "true": True, "empty": ""}
    for route, rest in sound.items():
        for name, value in odd.items():
            wire = as_json(route, rest | {"long_text": value})
            given.add(f"long-text-{name}-to{route.replace('/', '-')}", f"POST {route}", wire, 422, INVALID)
    many = {"texts": ["word " * 2000] * 100, "long_text": "split"}
    given.add("split-too-many", "POST /embed/texts", as_json("/embed/texts", many), 413, "payload_too_large")
    for name, text in {"words": "dog " * 2500, "emoji": "👩‍👩‍👧‍👦" * 1400, "unbroken": "x" * 10_000}.items():
        wire = as_json(SEARCH, {"query": text, "long_text": "split"})
        given.add(f"split-{name}", f"POST {SEARCH}", wire, 200, sampled=name == "emoji")
    for name, text in {
        "special-tokens": "<start_of_text>a dog<end_of_text> a cat <|endoftext|>",
        "control-inside": "a\0 dog\x1b[31m",
        "longest": "dog " * 2500,
        "right-to-left": "\u202ekcab",
        "stacked-marks": "a" + "\u0301" * 5000,
        "emoji": "👩‍👩‍👧‍👦" * 500,
        "markup": "<img src=x onerror=alert(1)>",
        "template": "${7*7} {{7*7}} %n%s",
    }.items():
        given.add(
            f"text-{name}", f"POST {SEARCH}", as_json(SEARCH, {"query": text}), 200, sampled=name == "special-tokens"
        )
    return given.cases
