import json
from typing import Any

import httpx
import numpy as np
import pytest

from crossmodal.api.schemas.classify import ClassifyAnswer
from crossmodal.metering import Bucket, Rate, use
from crossmodal.search.classifying import DEFAULT_TEMPLATE, MAX_PROMPTS, Labelling
from crossmodal.search.seeing import PictureSource
from crossmodal.wiring import Container
from tests.fakes import ColourModel
from tests.unit.api.helpers import data_url, index_colours, picture, places, problem, upload

RED = picture("red")
LABELS = ["blue", "red", "green"]


async def ask(client: httpx.AsyncClient, **members: Any) -> ClassifyAnswer:
    answer = await client.post("/classify", json={"image": data_url(RED), "labels": LABELS} | members)
    assert answer.status_code == 200, answer.text
    return ClassifyAnswer.model_validate(answer.json())


def names(answer: ClassifyAnswer) -> list[str | None]:
    return [each.label for each in answer.labels]


async def test_the_right_label_comes_first_and_probabilities_add_up(client: httpx.AsyncClient) -> None:
    answer = await ask(client)
    assert (names(answer)[0], answer.model, answer.truncated) == ("red", "colours", False)
    assert sorted(map(str, names(answer))) == sorted(LABELS)
    assert sum(each.probability for each in answer.labels) == pytest.approx(1.0)
    assert answer.labels[0].probability > 0.99
    scores = [each.score for each in answer.labels]
    assert scores == sorted(scores, reverse=True)


async def test_the_score_is_the_cosine_of_the_filled_template(client: httpx.AsyncClient, model: ColourModel) -> None:
    answer = await ask(client, template="see {} here")
    body = {"text": "see red here", "image": data_url(RED)}
    similarity = (await client.post("/similarity", json=body)).json()["similarity"]
    assert answer.labels[0].score == pytest.approx(similarity, abs=1e-6)
    await ask(client)
    assert DEFAULT_TEMPLATE.replace("{}", "red") in model.texts_seen


async def test_templates_are_averaged(client: httpx.AsyncClient) -> None:
    answer = await ask(client, templates=["{}", "see {} here"])
    texts = {"texts": ["red", "see red here"]}
    rows = np.array((await client.post("/embed/texts", json=texts)).json()["embeddings"])
    mean = rows.mean(axis=0)
    image = np.array((await client.post("/embed/images", files=upload(RED))).json()["embeddings"][0])
    assert answer.labels[0].score == pytest.approx(mean @ image / np.linalg.norm(mean), abs=1e-6)


async def test_upload_json_and_indexed_picture_say_the_same(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    by_json = await client.post("/classify", json={"image": data_url(RED), "labels": LABELS, "none_of_these": True})
    fields = {"labels": json.dumps(LABELS), "none_of_these": "true"}
    by_form = await client.post("/classify", files=upload(RED, field="file"), data=fields)
    by_id = await client.post("/classify", json={"id": "red", "labels": LABELS, "none_of_these": True})
    assert by_json.status_code == 200
    assert by_json.json() == by_form.json()
    assert [each["label"] for each in by_id.json()["labels"]] == [each["label"] for each in by_json.json()["labels"]]
    assert by_id.json()["labels"][0]["score"] == pytest.approx(by_json.json()["labels"][0]["score"], abs=1e-6)


async def test_an_indexed_picture_is_classified_by_its_stored_vector(
    client: httpx.AsyncClient, model: ColourModel
) -> None:
    await index_colours(client)
    before = len(model.batches)
    answer = await client.post("/classify", json={"id": "green", "labels": LABELS})
    assert answer.json()["labels"][0]["label"] == "green"
    assert model.batches[before:] == [len(LABELS)]


async def test_a_large_set_of_labels_is_embedded_once(client: httpx.AsyncClient, model: ColourModel) -> None:
    labels = [*LABELS, *(f"thing {number}" for number in range(60))]
    first = await client.post("/classify", json={"image": data_url(RED), "labels": labels})
    before = len(model.batches)
    again = await client.post("/classify", json={"image": data_url(RED), "labels": labels})
    assert again.json() == first.json()
    assert model.batches[before:] == []
    other = await client.post("/classify", json={"image": data_url(RED), "labels": labels, "template": "{}"})
    assert other.json() != first.json()


async def test_none_of_these_wins_where_no_label_fits(client: httpx.AsyncClient) -> None:
    fits = await ask(client, none_of_these=True)
    assert names(fits)[:2] == ["red", None]
    missing = await ask(client, none_of_these=True, labels=["blue", "green"])
    assert names(missing)[0] is None
    assert missing.labels[0].probability > 0.99
    assert missing.labels[0].score == pytest.approx(0.9)
    assert None not in names(await ask(client))


async def test_several_labels_may_fit(client: httpx.AsyncClient) -> None:
    answer = await ask(client, labels=["red", "red thing", "blue"], multi_label=True, none_of_these=True)
    assert names(answer) == ["red", "red thing", None, "blue"]
    probabilities = [each.probability for each in answer.labels]
    assert min(probabilities[:2]) > 0.8
    assert probabilities[2:] == [pytest.approx(0.5), pytest.approx(0.0, abs=1e-3)]


async def test_a_label_that_was_cut_is_told(client: httpx.AsyncClient) -> None:
    assert (await ask(client, labels=["red", "blue " * 20])).truncated is True


async def test_it_is_charged_by_texts_and_picture(container: Container) -> None:
    bucket = Bucket(Rate(1e-9, 100.0))
    use(bucket)
    await container.classifying.classify("default", PictureSource(content=RED), Labelling(LABELS, ["{}", "a {}"]))
    use(None)
    assert 100.0 - bucket.balance == pytest.approx(6 + 1 + 0.0016)


async def test_many_labels_do_not_stand_before_others(client: httpx.AsyncClient, model: ColourModel) -> None:
    await ask(client, labels=[f"label {number}" for number in range(33)])
    assert max(model.batches) <= 4  # half of the interactive batch of 8: the bulk lane
    await ask(client, labels=[f"other {number}" for number in range(32)])
    assert max(model.batches) == 8


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"labels": ["a"]}, "validation_failed", ["labels"]),
        ({"labels": ["a"] * 1001}, "validation_failed", ["labels"]),
        ({"labels": ["a", "b", "a"]}, "validation_failed", ["labels", 2]),
        ({"labels": ["a", " "]}, "validation_failed", ["labels", 1]),
        ({"labels": ["a", 5]}, "validation_failed", ["labels", 1]),
        ({"labels": ["a", "x" * 501]}, "text_too_long", ["labels", 1]),
        ({"labels": ["a", "x" * 495]}, "text_too_long", ["labels", 1]),  # in its template
        ({"template": "a photo"}, "validation_failed", ["template"]),
        ({"templates": ["{}", "{ }"]}, "validation_failed", ["templates", 1]),
        ({"templates": []}, "validation_failed", ["templates"]),
        ({"templates": ["{}"] * 17}, "validation_failed", ["templates"]),
        ({"templates": ["{}"], "template": "{}"}, "validation_failed", ["templates"]),
        ({"labels": [str(n) for n in range(500)], "templates": ["{}"] * 9}, "validation_failed", ["labels"]),
        ({"multi_label": 1}, "validation_failed", ["multi_label"]),
        ({"label": ["a"]}, "validation_failed", ["label"]),
        ({"id": "red"}, "validation_failed", ["image"]),
        ({"image": None}, "validation_failed", ["image"]),
        ({"image": data_url(b"junk")}, "image_undecodable", ["image"]),
        ({"image": "!"}, "validation_failed", ["image"]),
        ({"image": None, "id": "nobody"}, "not_found", ["id"]),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, change: dict[str, Any], code: str, place: list[object]
) -> None:
    answer = await client.post("/classify", json={"image": data_url(RED), "labels": LABELS} | change)
    assert places(problem(answer, 404 if code == "not_found" else 422, code)) == [place]


async def test_the_limit_of_texts_is_said(client: httpx.AsyncClient) -> None:
    body = {"image": data_url(RED), "labels": [str(n) for n in range(500)], "templates": ["{}"] * 9}
    detail = problem(await client.post("/classify", json=body), 422, "validation_failed")["detail"]
    assert detail == f"500 labels in 9 templates are 4500 texts; {MAX_PROMPTS} are allowed"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, ["labels"]),
        ({"labels": "red"}, ["labels"]),
        ({"labels": '["red", "red"]'}, ["labels", 1]),
        ({"labels": '["red", "blue"]', "multi_label": "yes"}, ["multi_label"]),
        ({"labels": '["red", "blue"]', "multi_label": "1"}, ["multi_label"]),
        ({"labels": '["red", "blue"]', "templates": "{}"}, ["templates"]),
        ({"labels": '["red", "blue"]', "id": "red"}, ["id"]),
    ],
)
async def test_what_is_wrong_in_a_form_is_named(
    client: httpx.AsyncClient, fields: dict[str, str], place: list[object]
) -> None:
    answer = await client.post("/classify", files=upload(RED, field="file"), data=fields)
    assert places(problem(answer, 422, "validation_failed")) == [place]


async def test_a_bad_upload_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/classify", files=upload(b"junk", field="file"), data={"labels": json.dumps(LABELS)})
    assert places(problem(answer, 422, "image_undecodable")) == [["file"]]
