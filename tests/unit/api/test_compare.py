import httpx
import numpy as np
import pytest

from crossmodal.api.schemas.compare import TextEmbeddingsAnswer
from tests.fakes import DIM
from tests.unit.api.helpers import data_url, picture, places, problem, upload

RED, GREEN = picture("red"), picture("green")


async def test_embeddings_are_unit_vectors_in_order(client: httpx.AsyncClient) -> None:
    answer = await client.post("/embed/texts", json={"texts": ["red", "green", "red"]})
    body = TextEmbeddingsAnswer.model_validate(answer.json())
    vectors = np.array(body.embeddings)
    assert (body.model, body.dim, vectors.shape) == ("colours", DIM, (3, DIM))
    assert (body.tokens_used, body.truncated) == ([1, 1, 1], [False, False, False])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert vectors[0] @ vectors[1] < 0.5


async def test_embeddings_say_what_was_read_of_each_text(client: httpx.AsyncClient) -> None:
    texts = ["red", "red " * 12 + "blue " * 24]
    cut = TextEmbeddingsAnswer.model_validate((await client.post("/embed/texts", json={"texts": texts})).json())
    assert (cut.tokens_used, cut.truncated) == ([1, 12], [False, True])
    assert np.dot(cut.embeddings[0], cut.embeddings[1]) > 0.99
    answer = await client.post("/embed/texts", json={"texts": texts, "long_text": "split"})
    split = TextEmbeddingsAnswer.model_validate(answer.json())
    assert (split.tokens_used, split.truncated) == ([1, 36], [False, False])
    assert split.embeddings[0] == cut.embeddings[0]
    blue = (await client.post("/embed/texts", json={"texts": ["blue"]})).json()["embeddings"][0]
    assert np.dot(split.embeddings[1], blue) > 0.85 > np.dot(cut.embeddings[1], blue)


async def test_pictures_embed_the_same_by_upload_and_by_json(client: httpx.AsyncClient) -> None:
    by_form = await client.post("/embed/images", files=upload(RED, GREEN))
    by_json = await client.post("/embed/images", json={"images": [data_url(RED), data_url(GREEN)]})
    assert by_form.json() == by_json.json()
    assert np.array(by_form.json()["embeddings"]).shape == (2, DIM)


async def test_similarity_is_the_cosine_of_the_embeddings(client: httpx.AsyncClient) -> None:
    texts = np.array((await client.post("/embed/texts", json={"texts": ["red"]})).json()["embeddings"])
    images = np.array((await client.post("/embed/images", files=upload(RED))).json()["embeddings"])
    for answer in (
        await client.post("/similarity", files=upload(RED, field="file"), data={"text": "red"}),
        await client.post("/similarity", json={"text": "red", "image": data_url(RED)}),
    ):
        assert answer.json()["similarity"] == pytest.approx((texts @ images.T).item(), abs=1e-6)
        assert answer.json()["relevance"] > 0.9


async def test_many_with_many_is_texts_by_images(client: httpx.AsyncClient) -> None:
    body = {"texts": ["red", "green", "blue"], "images": [data_url(RED), data_url(GREEN)]}
    answer = await client.post("/similarity", json=body)
    matrix = np.array(answer.json()["similarity"])
    assert matrix.shape == (3, 2)
    assert matrix[:, 0].argmax() == 0
    assert matrix[:, 1].argmax() == 1
    assert "relevance" not in answer.json()


@pytest.mark.parametrize(
    ("route", "body", "code", "place"),
    [
        ("/embed/texts", {"texts": []}, "validation_failed", ["texts"]),
        ("/embed/texts", {"texts": ["a", " "]}, "validation_failed", ["texts", 1]),
        ("/embed/texts", {"texts": ["a", "x" * 501]}, "text_too_long", ["texts", 1]),
        ("/embed/images", {"images": [data_url(RED), data_url(b"junk")]}, "image_undecodable", ["images", 1]),
        ("/embed/images", {"images": [data_url(RED), "!"]}, "validation_failed", ["images", 1]),
        ("/similarity", {"text": "", "image": data_url(RED)}, "validation_failed", ["text"]),
        ("/similarity", {"text": "a", "image": data_url(b"junk")}, "image_undecodable", ["image"]),
        ("/similarity", {"texts": ["a", ""], "images": [data_url(RED)]}, "validation_failed", ["texts", 1]),
    ],
)
async def test_the_bad_one_is_named_by_its_place(
    client: httpx.AsyncClient, route: str, body: object, code: str, place: list[object]
) -> None:
    assert places(problem(await client.post(route, json=body), 422, code)) == [place]


async def test_a_bad_upload_is_named_by_its_place(client: httpx.AsyncClient) -> None:
    answer = await client.post("/embed/images", files=upload(RED, b"junk", GREEN))
    assert places(problem(answer, 422, "image_undecodable")) == [["files", 1]]


@pytest.mark.parametrize(
    "body", [{}, {"text": "a"}, {"text": "a", "images": ["x"]}, {"text": "a", "image": "x", "texts": ["b"]}]
)
async def test_half_a_comparison_says_what_is_missing(client: httpx.AsyncClient, body: object) -> None:
    detail = problem(await client.post("/similarity", json=body), 422, "validation_failed")["detail"]
    assert detail.startswith("'text' and 'image', or 'texts' and 'images', are needed")
