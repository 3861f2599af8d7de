"""Searches for duplicates that mean nothing, and odd ones that mean something."""

from tests.corpus.cases import Case, Collector
from tests.corpus.wire import as_json, form, part, request

INVALID = "validation_failed"
TARGET = "/duplicates"
ROUTE = f"POST {TARGET}"

_BAD: dict[str, object] = {
    "threshold-1.1": {"threshold": 1.1},
    "threshold--1.1": {"threshold": -1.1},
    "threshold-string": {"threshold": "0.9"},
    "threshold-nan": {"threshold": float("nan")},
    "threshold-infinity": {"threshold": float("inf")},
    "threshold-true": {"threshold": True},
    "threshold-list": {"threshold": [0.9]},
    "limit-0": {"limit": 0},
    "limit-1001": {"limit": 1001},
    "limit-fraction": {"limit": 1.5},
    "limit-null": {"limit": None},
    "limit-huge": {"limit": 10**30},
    "modality-any": {"modality": "any"},
    "modality-null": {"modality": None},
    "method-unknown": {"method": "fuzzy"},
    "method-list": {"method": ["all"]},
    "linkage-unknown": {"linkage": "single"},
    "texts-have-no-look": {"modality": "text", "method": "perceptual"},
    "filter-operator": {"filter": {"a": {"eq": 1}}},
    "filter-list": {"filter": []},
    "tenant": {"tenant": "another"},
    "unknown-member": {"treshold": 0.9},
    "root-list": [],
}

_ODD: dict[str, object] = {
    "nothing": {},
    "nulls": {"threshold": None, "filter": None},
    "everything-is-alike": {"threshold": -1, "linkage": "connected", "limit": 1000.0},
    "nothing-is-alike": {"threshold": 1.0, "modality": "text"},
    "nobody": {"filter": {"a": "\u0000", "b": {"gt": 2**63 - 1}}},
}


def cases() -> list[Case]:
    given = Collector("duplicates")
    for name, body in _BAD.items():
        given.add(f"duplicates-{name}", ROUTE, as_json(TARGET, body), 422, INVALID, sampled=name == "threshold-1.1")
    for name, body in _ODD.items():
        given.add(f"duplicates-{name}", ROUTE, as_json(TARGET, body), 200)
    given.add("duplicates-cut", ROUTE, as_json(TARGET, b'{"limit": 5'), 400, "malformed_body")
    given.add("duplicates-empty", ROUTE, as_json(TARGET, b""), 400, "malformed_body")
    given.add("duplicates-form", ROUTE, form(TARGET, part("limit", "5")), 415, "unsupported_media_type")
    given.add("duplicates-get", f"GET {TARGET}", request("GET", TARGET), 405, "method_not_allowed")
    return given.cases
