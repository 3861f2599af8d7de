"""Labels, templates and policies for a picture: too few, too many, twice, and pictures that are none."""

import json
from typing import Any

from tests.corpus.cases import Case, Collector
from tests.corpus.pictures import good
from tests.corpus.wire import as_json, data_url, form, part

INVALID = "validation_failed"
CLASSIFY = "/classify"
LABELS = ["a dog", "a cat"]


def cases() -> list[Case]:
    given = Collector("zero-shot")
    _labels(given)
    _forms(given)
    _policies(given)
    _descriptions(given)
    return given.cases


def _labels(given: Collector) -> None:
    image = data_url(good())
    changes: dict[str, dict[str, Any]] = {
        "no-labels": {"labels": None},
        "one-label": {"labels": ["a dog"]},
        "1001-labels": {"labels": [f"label {number}" for number in range(1001)]},
        "labels-string": {"labels": "a dog, a cat"},
        "labels-object": {"labels": {"a dog": 1, "a cat": 2}},
        "label-twice": {"labels": ["a dog", "a cat", "a dog"]},
        "label-empty": {"labels": ["a dog", ""]},
        "label-invisible": {"labels": ["a dog", "\u200b"]},
        "label-number": {"labels": ["a dog", 5]},
        "label-null": {"labels": ["a dog", None]},
        "template-without-place": {"template": "a photo of a dog"},
        "template-format": {"template": "a photo of {0.__class__}"},
        "template-number": {"template": 5},
        "templates-empty": {"templates": []},
        "templates-17": {"templates": ["{}"] * 17},
        "templates-one-bad": {"templates": ["{}", "{"]},
        "template-and-templates": {"template": "{}", "templates": ["{}"]},
        "too-many-prompts": {"labels": [f"label {number}" for number in range(1000)], "templates": ["{}"] * 5},
        "flag-number": {"multi_label": 1},
        "flag-word": {"none_of_these": "true"},
        "unknown-member": {"label": "a dog"},
        "image-and-id": {"id": "corpus-0"},
        "neither-image-nor-id": {"image": None},
    }
    for name, change in changes.items():
        body: dict[str, Any] = {"image": image, "labels": LABELS} | change
        sampled = name == "label-twice"
        given.add(f"classify-{name}", f"POST {CLASSIFY}", as_json(CLASSIFY, body), 422, INVALID, sampled=sampled)
    long = {"image": image, "labels": ["a dog", "x" * 10_001]}
    given.add("classify-label-long", f"POST {CLASSIFY}", as_json(CLASSIFY, long), 422, "text_too_long")
    filled = {"image": image, "labels": ["a dog", "x" * 6000], "template": "{} and {}"}
    given.add("classify-filled-long", f"POST {CLASSIFY}", as_json(CLASSIFY, filled), 422, "text_too_long")
    nobody = {"id": "nobody", "labels": LABELS}
    given.add("classify-nobody", f"POST {CLASSIFY}", as_json(CLASSIFY, nobody), 404, "not_found")
    cut = {"image": data_url(good("JPEG")[:200]), "labels": LABELS}
    given.add("classify-cut", f"POST {CLASSIFY}", as_json(CLASSIFY, cut), 422, "image_undecodable")
    braces = {"image": image, "labels": ["{}", "{0}", "%s", "${x}"], "template": "{{}} {0} %s {}"}
    given.add("classify-braces", f"POST {CLASSIFY}", as_json(CLASSIFY, braces), 200)


def _forms(given: Collector) -> None:
    file, labels = part("file", good(), "x.png"), part("labels", json.dumps(LABELS))
    for name, parts in {
        "no-labels": [file],
        "labels-not-json": [file, part("labels", "a dog, a cat")],
        "labels-a-file": [file, part("labels", json.dumps(LABELS), "labels.json")],
        "no-file": [labels],
        "flag-yes": [file, labels, part("multi_label", "yes")],
        "flag-empty": [file, labels, part("none_of_these", "")],
        "templates-not-json": [file, labels, part("templates", "{}")],
        "with-id": [file, labels, part("id", "corpus-0")],
    }.items():
        given.add(f"classify-form-{name}", f"POST {CLASSIFY}", form(CLASSIFY, *parts), 422, INVALID)
    fine = form(CLASSIFY, file, labels, part("none_of_these", "true"), part("template", "{}"))
    given.add("classify-form", f"POST {CLASSIFY}", fine, 200)


def _policies(given: Collector) -> None:
    """Where no policies are configured, as on the server of the corpus, a sound request is answered 404."""
    image, route = data_url(good()), "POST /moderate"
    for name, body in {
        "no-picture": {},
        "policies-empty": {"image": image, "policies": []},
        "policies-string": {"image": image, "policies": "fruit"},
        "policies-number": {"image": image, "policies": [5]},
        "policies-101": {"image": image, "policies": ["fruit"] * 101},
        "threshold": {"image": image, "threshold": 0.1},
        "image-and-id": {"image": image, "id": "corpus-0"},
    }.items():
        given.add(f"moderate-{name}", route, as_json("/moderate", body), 422, INVALID)
    file = part("file", good(), "x.png")
    given.add("moderate-form-not-json", route, form("/moderate", file, part("policies", "fruit")), 422, INVALID)
    given.add("moderate-form-no-file", route, form("/moderate", part("policies", '["fruit"]')), 422, INVALID)
    given.add("moderate-none-configured", route, form("/moderate", file), 404, "not_found")


def _descriptions(given: Collector) -> None:
    image, route = data_url(good()), "POST /describe"
    for name, body in {
        "no-picture": {},
        "n-results-0": {"image": image, "n_results": 0},
        "n-results-101": {"image": image, "n_results": 101},
        "n-results-word": {"image": image, "n_results": "three"},
        "filter": {"image": image, "filter": {}},
        "image-and-id": {"image": image, "id": "corpus-0"},
    }.items():
        given.add(f"describe-{name}", route, as_json("/describe", body), 422, INVALID)
    given.add("describe-nobody", route, as_json("/describe", {"id": "nobody"}), 404, "not_found")
    given.add("describe-cut", route, as_json("/describe", {"image": data_url(good()[:99])}), 422, "image_undecodable")
    two = form("/describe", part("file", good(), "x.png"), part("file", good(), "y.png"))
    given.add("describe-two-files", route, two, 422, INVALID)
    given.add("describe-indexed", route, as_json("/describe", {"id": "corpus-0"}), 200)
    given.add("describe-form", route, form("/describe", part("file", good(), "x.png"), part("n_results", "1")), 200)
