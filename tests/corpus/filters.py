"""Filters: conditions that mean nothing, or too many of them."""

import json
from urllib.parse import quote

from tests.corpus.cases import Case, Collector
from tests.corpus.texts import SEARCH
from tests.corpus.wire import as_json, request

INVALID = "validation_failed"


def _nested(levels: int) -> object:
    value: object = {"a": 1}
    for _ in range(levels):
        value = {"not": value}
    return value


def _bad() -> dict[str, object]:
    return {
        "unknown-operator": {"a": {"eq": 1}},
        "dollar-operator": {"a": {"$gt": 1}},
        "no-operator": {"a": {}},
        "too-deep": _nested(8),
        "65-conditions": {f"k{index}": 1 for index in range(65)},
        "257-values": {"a": {"any": list(range(257))}},
        "no-values": {"a": {"any": []}},
        "any-a-string": {"a": {"any": "x"}},
        "any-and-range": {"a": {"any": [1], "gt": 0}},
        "null": {"a": None},
        "bare-list": {"a": [1]},
        "range-of-string": {"a": {"gt": "1"}},
        "range-of-true": {"a": {"gt": True}},
        "range-nan": {"a": {"gt": float("nan")}},
        "range-over-64-bits": {"a": {"gt": 2**64}},
        "not-a-list": {"not": [{"a": 1}]},
        "not-empty": {"not": {}},
        "and-an-object": {"and": {"a": 1}},
        "or-empty": {"or": []},
        "or-of-scalars": {"or": [1, 2]},
        "empty-key": {"": 1},
        "quote-in-key": {'a"].b': 1},
        "object-in-any": {"a": {"any": [{}]}},
    }


def cases() -> list[Case]:
    given = Collector("filters")
    for name, value in _bad().items():
        wire = as_json(SEARCH, {"query": "a", "filter": value})
        given.add(f"filter-{name}", f"POST {SEARCH}", wire, 422, INVALID, sampled=name == "unknown-operator")
    for name, raw in {
        "unknown-operator": json.dumps({"a": {"like": "x"}}),
        "not-json": "{",
        "a-list": "[]",
        "a-number": "5",
        "empty": "",
        "deep": "[" * 5000,
        "digits": '{"a": ' + "9" * 5000 + "}",
        "nan": '{"a": NaN}',
        "nul": "\0",
        "surrogate": r'{"a": "\ud800"}',
    }.items():
        target = f"/items/image?filter={quote(raw)}"
        given.add(f"list-filter-{name}", "GET /items/{modality}", request("GET", target), 422, INVALID)
    given.add("list-filter-not-utf-8", "GET /items/{modality}", request("GET", "/items/image?filter=%ff"), 422, INVALID)
    return given.cases
