import base64
import json

import httpx
import numpy as np
import pytest

from crossmodal.api.schemas.openai import EmbeddingListAnswer, ModelAnswer, ModelListAnswer
from tests.fakes import CONTEXT, DIM, ColourModel
from tests.unit.api.helpers import data_url, picture, places, problem

RED, BLUE = picture("red"), picture("blue")
ROUTE = "/v1/embeddings"


async def embed(client: httpx.AsyncClient, given: object, **members: object) -> EmbeddingListAnswer:
    answer = await client.post(ROUTE, json={"input": given, "model": "colours"} | members)
    assert answer.status_code == 200, answer.text
    return EmbeddingListAnswer.model_validate(answer.json())


async def test_a_string_and_a_list_are_embedded_as_elsewhere(client: httpx.AsyncClient) -> None:
    body = await embed(client, ["red", "green and blue"])
    same = (await client.post("/embed/texts", json={"texts": ["red", "green and blue"]})).json()
    assert [each.embedding for each in body.data] == same["embeddings"]
    assert [each.index for each in body.data] == [0, 1]
    assert (body.model, body.usage.prompt_tokens, body.usage.total_tokens) == ("colours", 4, 4)
    one = await client.post(ROUTE, json={"input": "red", "model": "colours", "user": "somebody", "dimensions": DIM})
    assert one.json() == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": same["embeddings"][0]}],
        "model": "colours",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


async def test_base64_is_float32_with_the_least_byte_first(client: httpx.AsyncClient) -> None:
    plain = await embed(client, "red", encoding_format="float")
    packed = await embed(client, "red", encoding_format="base64")
    written = packed.data[0].embedding
    assert isinstance(written, str)
    assert np.frombuffer(base64.b64decode(written), dtype="<f4").tolist() == pytest.approx(plain.data[0].embedding)


async def test_texts_and_pictures_can_be_mixed(client: httpx.AsyncClient) -> None:
    mixed = ["red", data_url(BLUE), "blue", data_url(RED), data_url(RED).replace("data:image", "DATA:IMAGE")]
    body = await embed(client, mixed)
    vectors = np.array([each.embedding for each in body.data])
    pictures = (await client.post("/embed/images", json={"images": [data_url(BLUE), data_url(RED)]})).json()[
        "embeddings"
    ]
    texts = (await client.post("/embed/texts", json={"texts": ["red", "blue"]})).json()["embeddings"]
    np.testing.assert_array_equal(vectors, [texts[0], pictures[0], texts[1], pictures[1], pictures[1]])
    assert body.usage.prompt_tokens == 2


async def test_the_modality_says_what_a_string_is(client: httpx.AsyncClient, model: ColourModel) -> None:
    bare = base64.b64encode(RED).decode()
    as_picture = await embed(client, bare, modality="image")
    assert model.texts_seen == []
    assert as_picture.usage.prompt_tokens == 0
    assert as_picture.data[0].embedding == (await embed(client, data_url(RED))).data[0].embedding
    await embed(client, "data:image/png;base64,red", modality="text")
    assert model.texts_seen == ["data:image/png;base64,red"]


async def test_a_long_text_is_cut_or_split(client: httpx.AsyncClient) -> None:
    long = "red " * CONTEXT * 2
    assert (await embed(client, long)).usage.prompt_tokens == CONTEXT
    assert (await embed(client, long, long_text="split")).usage.prompt_tokens == CONTEXT * 2


@pytest.mark.parametrize(
    ("members", "place", "said"),
    [
        ({"input": ""}, ["input", 0], "is empty"),
        ({"input": []}, ["input"], "at least 1 entry is needed; 0 came"),
        ({"input": ["red"] * 1001}, ["input"], "at most 1000 entries are allowed; 1001 came"),
        ({"input": [1, 2, 3]}, ["input"], "token ids came"),
        ({"input": [[1, 2], [3]]}, ["input"], "token ids came"),
        ({"input": None}, ["input"], "a string or a list of strings"),
        ({"input": {"text": "red"}}, ["input"], "a string or a list of strings"),
        ({"input": ["red", None]}, ["input", 1], "a string is needed; null came"),
        ({"input": ["red", " ", "blue"]}, ["input", 1], "is empty"),
        ({"input": ["red", "data:image/png;base64,%%%", "blue"]}, ["input", 1], "not base64"),
        ({"input": ["red", "data:image/png;base64,aGVsbG8=", "blue"]}, ["input", 1], "picture"),
        ({"input": ["red"], "modality": "image"}, ["input", 0], "no picture"),
        ({"input": "http://127.0.0.1/x.png", "modality": "image"}, ["input", 0], "switched off"),
        ({"modality": "sound"}, ["modality"], "'image'"),
        ({"encoding_format": "int8"}, ["encoding_format"], "'float' or 'base64'"),
        ({"dimensions": DIM - 1}, ["dimensions"], f"have {DIM}"),
        ({"dimensions": 0}, ["dimensions"], "no less than 1 is allowed; 0 came"),
        ({"user": 5}, ["user"], "a string is needed; 5 came"),
        ({"model": None}, ["model"], "a string is needed; null came"),
        ({"truncate": True}, ["truncate"], "no member of this name"),
    ],
)
async def test_what_is_refused_names_its_place_in_both_ways(
    client: httpx.AsyncClient, members: dict[str, object], place: list[object], said: str
) -> None:
    answer = await client.post(ROUTE, json={"input": "red", "model": "colours"} | members)
    body = answer.json()
    problem(answer, 422, body["code"])
    assert places(body) == [place]
    assert said in body["errors"][0]["msg"]
    assert body["error"] == {
        "message": body["detail"],
        "type": "invalid_request_error",
        "code": body["code"],
        "param": ".".join(map(str, place)),
    }
    assert len(answer.content) == int(answer.headers["content-length"])


async def test_more_pictures_than_elsewhere_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, json={"input": ["data:image/png;base64,eA=="] * 101, "model": "colours"})
    assert "at most 100" in problem(answer, 422, "validation_failed")["error"]["message"]


@pytest.mark.parametrize("name", ["text-embedding-3-small", "", "Colours", "colours "])
async def test_another_model_is_not_found(client: httpx.AsyncClient, name: str) -> None:
    body = problem(await client.post(ROUTE, json={"input": "red", "model": name}), 404, "not_found")
    assert body["error"] == {
        "message": body["detail"],
        "type": "invalid_request_error",
        "code": "not_found",
        "param": "model",
    }
    assert "'colours' is served" in body["detail"]


async def test_the_model_is_listed(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    ModelListAnswer.model_validate(listed)
    one = (await client.get("/v1/models/colours")).json()
    ModelAnswer.model_validate(one)
    assert listed == {"object": "list", "data": [one]}
    assert one["id"] == "colours"
    for path in ("/v1/models", "/v1/models/colours"):
        assert (await client.head(path)).status_code == 200
    for path in ("/v1/models/ViT-B-32/laion2b_s34b_b79k", "/v1/models/ViT-B-32%2Flaion2b_s34b_b79k"):
        body = problem(await client.get(path), 404, "not_found")
        assert "'ViT-B-32/laion2b_s34b_b79k'" in body["error"]["message"]


async def test_errors_elsewhere_have_no_such_member_and_those_of_the_edge_have(client: httpx.AsyncClient) -> None:
    assert "error" not in problem(await client.get("/items/image/nobody"), 404, "not_found")
    assert "error" not in problem(await client.post("/v1", json={}), 404, "not_found")
    assert problem(await client.get("/v1/engines"), 404, "not_found")["error"]["code"] == "not_found"
    answer = await client.put(ROUTE, json={})
    assert problem(answer, 405, "method_not_allowed")["error"]["type"] == "invalid_request_error"
    large = await client.post(ROUTE, content=b"x" * 300_000, headers={"content-type": "application/json"})
    assert problem(large, 413, "payload_too_large")["error"]["code"] == "payload_too_large"
    broken = await client.post(ROUTE, content=b"{", headers={"content-type": "application/json"})
    assert json.loads(broken.content)["error"]["code"] == "malformed_body"


async def test_a_fault_of_the_model_is_the_servers(client: httpx.AsyncClient, model: ColourModel) -> None:
    model.broken = True
    answer = await client.post(ROUTE, json={"input": "red", "model": "colours"})
    error = problem(answer, 500, "internal_error")["error"]
    assert error["type"] == "server_error"
    assert "secret" not in answer.text
