"""Numbers outside their ranges or of another type, and cursors nobody gave out."""

from tests.corpus.cases import Case, Collector
from tests.corpus.pictures import good
from tests.corpus.texts import SEARCH
from tests.corpus.wire import as_json, form, part, request

INVALID = "validation_failed"
LIST = "GET /items/{modality}"


def cases() -> list[Case]:
    given = Collector("ranges")
    for member, values in {
        "n_results": {
            "0": 0,
            "1001": 1001,
            "-1": -1,
            "string": "5",
            "fraction": 1.5,
            "true": True,
            "null": None,
            "huge": 10**30,
        },
        "offset": {"-1": -1, "10001": 10_001, "string": "0", "fraction": 0.5},
        "diversity": {"-0.1": -0.1, "1.1": 1.1, "string": "0", "nan": float("nan"), "true": True, "null": None},
        "min_relevance": {"-0.1": -0.1, "1.1": 1.1, "nan": float("nan"), "infinity": float("inf"), "string": "0"},
        "exact": {"string": "true", "number": 1, "null": None, "list": [True]},
    }.items():
        for name, value in values.items():
            wire = as_json(SEARCH, {"query": "a", member: value})
            sampled = (member, name) == ("n_results", "1001")
            given.add(f"{member}-{name}", f"POST {SEARCH}", wire, 422, INVALID, sampled=sampled)
    for member, text in {
        "n_results": "0",
        "offset": "-1",
        "diversity": "2",
        "min_relevance": "inf",
        "exact": "yes",
    }.items():
        target = "/search/similar-images"
        wire = form(target, part("file", good(), "x"), part(member, text))
        given.add(f"form-{member}-{text}", f"POST {target}", wire, 422, INVALID)
    for name, query in {
        "limit-0": "limit=0",
        "limit-1001": "limit=1001",
        "limit-word": "limit=ten",
        "limit-empty": "limit=",
        "limit-digits": "limit=" + "9" * 5000,
        "cursor-nonsense": "cursor=abc",
        "cursor-empty": "cursor=",
        "cursor-tampered": "cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "cursor-long": "cursor=" + "A" * 1001,
        "cursor-not-ascii": "cursor=%F0%9F%8D%8C",
    }.items():
        wire = request("GET", f"/items/image?{query}")
        given.add(f"list-{name}", LIST, wire, 422, INVALID, sampled=name == "cursor-tampered")
    return given.cases
