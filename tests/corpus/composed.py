"""Searches by several things at once that ask for nothing, for too much, or for what is not there."""

from tests.corpus.cases import Case, Collector
from tests.corpus.wire import as_json

INVALID = "validation_failed"
SEARCH, RECOMMEND = "/search", "/recommend"


def cases() -> list[Case]:
    given = Collector("composed")
    for name, parts in {
        "none": [],
        "33": [{"text": "a"}] * 33,
        "not-a-list": {"text": "a"},
        "strings": ["a"],
        "empty-part": [{}],
        "two-in-one": [{"text": "a", "id": "b"}],
        "unknown-member": [{"text": "a", "boost": 2}],
        "blank-text": [{"text": "a"}, {"text": " \t"}],
        "no-picture": [{"image": "not base64!"}],
        "no-picture-in-it": [{"image": "aGVsbG8="}],
        "weight-11": [{"text": "a", "weight": 11}],
        "weight-nan": [{"text": "a", "weight": float("nan")}],
        "weight-infinite": [{"text": "a", "weight": float("inf")}],
        "weight-string": [{"text": "a", "weight": "1"}],
        "weight-null": [{"text": "a", "weight": None}],
        "nothing-wanted": [{"text": "a", "weight": -1}],
        "weights-of-0": [{"text": "a", "weight": 0}],
        "modality-unknown": [{"id": "a", "modality": "audio"}],
        "modality-of-text": [{"text": "a", "modality": "image"}],
        "modality-of-picture": [{"image": "aGVsbG8=", "modality": "text"}],
        "id-empty": [{"id": ""}],
        "id-long": [{"id": "x" * 257}],
    }.items():
        code = "image_undecodable" if name == "no-picture-in-it" else INVALID
        sampled = name == "nothing-wanted"
        given.add(f"parts-{name}", f"POST {SEARCH}", as_json(SEARCH, {"parts": parts}), 422, code, sampled=sampled)
    absent = as_json(SEARCH, {"parts": [{"text": "a"}, {"id": "nobody"}]})
    given.add("parts-id-absent", f"POST {SEARCH}", absent, 404, "not_found")
    for member, value in {"target": "audio", "explain": "yes", "n_results": 0, "page": 2, "diversity": 2}.items():
        wire = as_json(SEARCH, {"parts": [{"text": "a"}], member: value})
        given.add(f"composed-{member}", f"POST {SEARCH}", wire, 422, INVALID)
    for name, body in {
        "nothing-liked": {"liked": []},
        "only-disliked": {"disliked": ["a"]},
        "101-liked": {"liked": ["a"] * 101},
        "liked-number": {"liked": [1]},
        "liked-string": {"liked": "a"},
        "modality": {"liked": ["a"], "modality": "any"},
    }.items():
        given.add(f"recommend-{name}", f"POST {RECOMMEND}", as_json(RECOMMEND, body), 422, INVALID)
    wire = as_json(RECOMMEND, {"liked": ["nobody"]})
    given.add("recommend-absent", f"POST {RECOMMEND}", wire, 404, "not_found", sampled=True)
    return given.cases
