import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from crossmodal.api.schemas.moderate import ModerateAnswer
from crossmodal.settings import Settings
from tests.fakes import ColourModel
from tests.unit.api.helpers import data_url, index_colours, picture, places, problem, upload

RED, GREEN = picture("red"), picture("green")
POLICIES = """\
policies:
  - {name: red, concepts: [red and green, red], neutral: [green, blue], threshold: 0.5}
  - {name: green, concepts: [green], neutral: [red, blue], threshold: 0.999999}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "policies.yaml").write_text(POLICIES)
    return Settings(store="memory:", data=tmp_path, policies=tmp_path / "policies.yaml")


async def ask(client: httpx.AsyncClient, image: bytes, **members: Any) -> ModerateAnswer:
    answer = await client.post("/moderate", json={"image": data_url(image)} | members)
    assert answer.status_code == 200, answer.text
    return ModerateAnswer.model_validate(answer.json())


async def test_a_picture_is_flagged_by_the_policies_it_falls_under(client: httpx.AsyncClient) -> None:
    red = await ask(client, RED)
    assert [(each.name, each.flagged, each.top_concept) for each in red.policies] == [
        ("red", True, "red"),
        ("green", False, "green"),
    ]
    assert (red.flagged, red.model) == (True, "colours")
    assert red.policies[0].score > 0.99
    assert red.policies[0].threshold == 0.5
    assert "not a judgement" in red.notice


async def test_a_picture_unlike_every_prompt_is_flagged_by_none(client: httpx.AsyncClient) -> None:
    black = await ask(client, picture("black"))
    assert black.flagged is False
    assert max(each.score for each in black.policies) < 0.2


async def test_the_score_is_a_share_of_the_softmax(client: httpx.AsyncClient) -> None:
    policies = ["green"]
    score = (await ask(client, GREEN, policies=policies)).policies[0].score
    body = {"image": data_url(GREEN), "labels": ["green", "red", "blue"], "template": "{}", "none_of_these": True}
    labels = (await client.post("/classify", json=body)).json()["labels"]
    assert score == pytest.approx(next(each["probability"] for each in labels if each["label"] == "green"))


async def test_a_subset_is_asked_for_by_name(client: httpx.AsyncClient) -> None:
    assert [each.name for each in (await ask(client, RED, policies=["green"])).policies] == ["green"]
    assert [each.name for each in (await ask(client, RED, policies=["green", "red"])).policies] == ["red", "green"]
    form = await client.post("/moderate", files=upload(RED, field="file"), data={"policies": '["red"]'})
    assert [each["name"] for each in form.json()["policies"]] == ["red"]


async def test_prompts_are_embedded_once_and_indexed_pictures_not_at_all(
    client: httpx.AsyncClient, model: ColourModel
) -> None:
    await index_colours(client)
    await ask(client, RED)
    seen, batches = len(model.texts_seen), len(model.batches)
    answer = await client.post("/moderate", json={"id": "red"})
    assert (answer.json()["flagged"], len(model.texts_seen), len(model.batches)) == (True, seen, batches)


@pytest.mark.parametrize(
    ("body", "status", "code", "place"),
    [
        ({"image": data_url(RED), "policies": ["red", "blue"]}, 422, "validation_failed", ["policies", 1]),
        ({"image": data_url(RED), "policies": []}, 422, "validation_failed", ["policies"]),
        ({"image": data_url(RED), "policies": "red"}, 422, "validation_failed", ["policies"]),
        ({"image": data_url(RED), "threshold": 0.1}, 422, "validation_failed", ["threshold"]),
        ({"image": data_url(b"junk")}, 422, "image_undecodable", ["image"]),
        ({}, 422, "validation_failed", ["image"]),
        ({"id": "nobody"}, 404, "not_found", ["id"]),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, place: list[object]
) -> None:
    assert places(problem(await client.post("/moderate", json=body), status, code)) == [place]


async def test_bad_fields_of_a_form_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/moderate", files=upload(RED, field="file"), data={"policies": "red"})
    assert places(problem(answer, 422, "validation_failed")) == [["policies"]]
    answer = await client.post("/moderate", files=upload(RED, field="file"), data={"policies": json.dumps(["x"])})
    assert places(problem(answer, 422, "validation_failed")) == [["policies", 0]]


class TestWithoutPolicies:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(store="memory:", data=tmp_path)

    async def test_it_says_how_to_configure_some(self, client: httpx.AsyncClient) -> None:
        detail = problem(await client.post("/moderate", json={"image": data_url(RED)}), 404, "not_found")["detail"]
        assert "CROSSMODAL_POLICIES names a YAML file" in detail
