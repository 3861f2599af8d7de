"""Metadata that no store could keep or compare."""

from tests.corpus.cases import Case, Collector
from tests.corpus.wire import as_json

INVALID = "validation_failed"
ROUTE = "POST /index/texts"


def _bad() -> dict[str, object]:
    return {
        "nested": {"a": {"b": 1}},
        "nested-list": {"a": [[1]]},
        "null-in-list": {"a": [None]},
        "too-many-keys": {f"k{index}": index for index in range(65)},
        "too-large": {f"k{index}": "x" * 8000 for index in range(3)},
        "long-string": {"a": "x" * 8193},
        "long-list": {"a": [1] * 65},
        "long-key": {"k" * 65: 1},
        "empty-key": {"": 1},
        "quote-in-key": {'a"b': 1},
        "backslash-in-key": {"a\\b": 1},
        "control-in-key": {"a\0": 1},
        "operator-as-key": {"not": 1},
        "integer-over-64-bits": {"a": 2**63},
        "nan": {"a": float("nan")},
        "infinity": {"a": float("inf")},
        "a-string": "a",
        "a-list": [],
        "a-number": 5,
        "false": False,
    }


def cases() -> list[Case]:
    given = Collector("metadata")
    for name, value in _bad().items():
        wire = as_json("/index/texts", {"items": [{"text": "a new text", "metadata": value}]})
        given.add(f"metadata-{name}", ROUTE, wire, 422, INVALID, sampled=name == "nested")
    huge = b'{"items": [{"text": "a new text", "metadata": {"a": 1e999}}]}'
    given.add("metadata-overflow", ROUTE, as_json("/index/texts", huge), 422, INVALID)
    surrogate = b'{"items": [{"text": "a new text", "metadata": {"a": "\\ud800"}}]}'
    given.add("metadata-surrogate", ROUTE, as_json("/index/texts", surrogate), 400, "malformed_body")
    return given.cases
