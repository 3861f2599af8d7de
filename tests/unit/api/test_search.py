import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from PIL import Image

from crossmodal.api import create_app
from crossmodal.api.schemas.base import SearchAnswer
from crossmodal.api.schemas.search import SimilarTextsAnswer, TextSearchAnswer
from crossmodal.records import DEFAULT_TENANT, Modality, Partition
from crossmodal.store.base import CollectionSpec
from crossmodal.wiring import Container
from tests.fakes import DIM, ColourModel, HastyStore, info
from tests.pictures import encoded
from tests.unit.api.helpers import data_url, ids, index_colours, picture, places, problem, querying_over, upload


@pytest.fixture(autouse=True)
async def _gallery(client: httpx.AsyncClient) -> None:
    await index_colours(client)


async def test_a_text_finds_its_pictures_best_first(client: httpx.AsyncClient) -> None:
    answer = await client.post("/search/text-to-image", json={"query": "red", "n_results": 3})
    body = TextSearchAnswer.model_validate(answer.json())
    assert body.results[0].id == "red"
    assert (body.query, body.model, body.truncated) == ("red", "colours", False)
    scores = [hit.score for hit in body.results]
    assert scores == sorted(scores, reverse=True)
    best, worst = body.results[0], body.results[-1]
    assert (best.weak_match, worst.weak_match) == (False, True)
    assert best.relevance > 0.9
    assert worst.relevance < 0.5
    assert (best.uri, best.thumbnail_url) == ("/images/red", "/images/red/thumbnail")
    assert best.metadata == {"colour": "red", "rank": 0}


@pytest.mark.parametrize("route", ["text-to-image", "similar-texts"])
async def test_a_long_query_says_that_it_was_cut(client: httpx.AsyncClient, route: str) -> None:
    answer = (await client.post(f"/search/{route}", json={"query": "red " * 12 + "blue " * 12})).json()
    assert (answer["truncated"], answer["tokens_used"]) == (True, 12)
    assert "red" in answer["results"][0]["id"]
    short = (await client.post(f"/search/{route}", json={"query": "red", "long_text": "truncate"})).json()
    assert (short["truncated"], short["tokens_used"]) == (False, 1)


@pytest.mark.parametrize("route", ["text-to-image", "similar-texts"])
async def test_a_long_query_can_be_read_whole(client: httpx.AsyncClient, route: str) -> None:
    query = {"query": "red " * 12 + "blue " * 24, "long_text": "split"}
    answer = (await client.post(f"/search/{route}", json=query)).json()
    assert (answer["truncated"], answer["tokens_used"]) == (False, 36)
    assert "blue" in answer["results"][0]["id"]


async def test_of_an_indexed_text_nothing_is_read(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/search/similar-texts", json={"id": "t-red"})).json()
    SimilarTextsAnswer.model_validate(answer)
    assert (answer["truncated"], answer["tokens_used"]) == (False, 0)


async def test_a_picture_finds_texts(client: httpx.AsyncClient) -> None:
    answer = await client.post("/search/image-to-text", files=upload(picture("blue"), field="file"))
    body = SearchAnswer.model_validate(answer.json())
    assert body.results[0].text == "a blue thing"
    assert body.results[0].uri is None


async def test_a_picture_never_finds_itself_whatever_it_is_called(client: httpx.AsyncClient) -> None:
    await client.post("/index/images", files=upload(picture("red")), data={"ids": '["a copy"]'})
    file = [("file", ("new name.jpg", picture("red"), "image/jpeg"))]
    assert set(ids(await client.post("/search/similar-images", files=file))) == {"green", "blue"}
    assert set(ids(await client.post("/search/similar-images", json={"id": "red"}))) == {"green", "blue"}
    by_json = await client.post("/search/similar-images", json={"image": data_url(picture("red"))})
    assert set(ids(by_json)) == {"green", "blue"}


async def test_nearly_the_same_picture_is_found(client: httpx.AsyncClient) -> None:
    file = upload(picture("red", side=41), field="file")
    assert ids(await client.post("/search/similar-images", files=file))[0] == "red"


async def test_an_item_finds_texts_and_texts_find_texts(client: httpx.AsyncClient) -> None:
    assert ids(await client.post("/search/image-to-text", json={"id": "green"}))[0] == "t-green"
    assert ids(await client.post("/search/similar-texts", json={"query": "blue"}))[0] == "t-blue"
    similar = ids(await client.post("/search/similar-texts", json={"id": "t-blue"}))
    assert set(similar) == {"t-red", "t-green"}


async def test_pages_join_up(client: httpx.AsyncClient) -> None:
    query = {"query": "red", "n_results": 3}
    whole = ids(await client.post("/search/text-to-image", json=query))
    pages = [
        ids(await client.post("/search/text-to-image", json=query | {"n_results": 1, "offset": offset}))
        for offset in range(4)
    ]
    assert pages == [[each] for each in whole] + [[]]


async def test_filters_narrow(client: httpx.AsyncClient) -> None:
    for where, expected in [
        ({"colour": "blue"}, {"blue"}),
        ({"rank": {"gte": 1}}, {"green", "blue"}),
        ({"colour": {"any": ["red", "green"]}}, {"red", "green"}),
        ({"not": {"colour": "red"}}, {"green", "blue"}),
        ({"or": [{"colour": "red"}, {"rank": {"gt": 1}}]}, {"red", "blue"}),
        ({"and": [{"rank": {"gt": 0}}, {"rank": {"lt": 2}}]}, {"green"}),
    ]:
        answer = await client.post("/search/text-to-image", json={"query": "red", "filter": where})
        assert set(ids(answer)) == expected, where
    form = await client.post(
        "/search/similar-images", files=upload(picture("white"), field="file"), data={"filter": json.dumps({"rank": 2})}
    )
    assert ids(form) == ["blue"]


async def test_min_relevance_cuts_the_tail(client: httpx.AsyncClient) -> None:
    query = {"query": "red", "n_results": 3}
    hits = (await client.post("/search/text-to-image", json=query)).json()["results"]
    bound = hits[0]["relevance"]
    assert ids(await client.post("/search/text-to-image", json=query | {"min_relevance": bound})) == ["red"]
    diverse = query | {"min_relevance": bound, "diversity": 0.9}
    assert ids(await client.post("/search/text-to-image", json=diverse)) == ["red"]


async def test_diversity_brings_unlike_pictures_forward(client: httpx.AsyncClient) -> None:
    near_red = picture((250, 10, 5))
    await client.post("/index/images", files=upload(near_red), data={"ids": '["nearly red"]'})
    plain = ids(await client.post("/search/text-to-image", json={"query": "red", "n_results": 2}))
    assert set(plain) == {"red", "nearly red"}
    diverse = {"query": "red", "n_results": 2, "diversity": 0.9}
    first, second = ids(await client.post("/search/text-to-image", json=diverse))
    assert first == plain[0]
    assert second in {"green", "blue"}
    after = ids(await client.post("/search/text-to-image", json=diverse | {"n_results": 1, "offset": 1}))
    assert after == [second]


@pytest.fixture
async def hasty(container: Container, client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The same gallery in a store that overlooks the red picture unless it is asked to be exact."""
    assert ids(await client.post("/search/text-to-image", json={"query": "red"}))[0] == "red"
    store = HastyStore()
    await store.open(CollectionSpec(DIM, info().fingerprint))
    images = Partition(DEFAULT_TENANT, Modality.IMAGE)
    held = await container.store.fetch(images, ["red", "green", "blue"], with_embeddings=True)
    await store.upsert(images, [point for point in held if point is not None])
    store.missed = {"red"}
    app = create_app()
    app.state.container = replace(container, store=store, querying=querying_over(store, container))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as caller:
        yield caller


async def test_an_exact_search_finds_what_an_index_misses(hasty: httpx.AsyncClient) -> None:
    query = {"query": "red", "n_results": 3}
    assert set(ids(await hasty.post("/search/text-to-image", json=query))) == {"green", "blue"}
    assert ids(await hasty.post("/search/text-to-image", json=query | {"exact": False}))[0] != "red"
    assert ids(await hasty.post("/search/text-to-image", json=query | {"exact": True}))[0] == "red"
    assert ids(await hasty.post("/search/text-to-image", json=query | {"exact": True, "diversity": 0.5}))[0] == "red"
    assert "red" in ids(await hasty.post("/search/similar-images", json={"id": "blue", "exact": True}))
    white = upload(picture("white"), field="file")
    for word, expected in {"true": True, "false": False}.items():
        answer = await hasty.post("/search/similar-images", files=white, data={"exact": word})
        assert ("red" in ids(answer)) is expected


@pytest.mark.parametrize(
    ("route", "body", "place"),
    [
        ("text-to-image", {"query": ""}, ["query"]),
        ("text-to-image", {"query": "  "}, ["query"]),
        ("text-to-image", {}, ["query"]),
        ("text-to-image", {"query": 5}, ["query"]),
        ("text-to-image", {"query": "x", "n_results": 0}, ["n_results"]),
        ("text-to-image", {"query": "x", "n_results": 1001}, ["n_results"]),
        ("text-to-image", {"query": "x", "n_results": "5"}, ["n_results"]),
        ("text-to-image", {"query": "x", "n_results": True}, ["n_results"]),
        ("text-to-image", {"query": "x", "offset": -1}, ["offset"]),
        ("text-to-image", {"query": "x", "min_relevance": 1.1}, ["min_relevance"]),
        ("text-to-image", {"query": "x", "diversity": -0.1}, ["diversity"]),
        ("text-to-image", {"query": "x", "exact": "true"}, ["exact"]),
        ("text-to-image", {"query": "x", "exact": 1}, ["exact"]),
        ("text-to-image", {"query": "x", "top_k": 5}, ["top_k"]),
        ("text-to-image", {"query": "x", "long_text": "halve"}, ["long_text"]),
        ("text-to-image", {"query": "x", "long_text": None}, ["long_text"]),
        ("similar-texts", {"query": "x", "long_text": True}, ["long_text"]),
        ("text-to-image", {"query": "x", "filter": {"price": {"near": 5}}}, ["filter", "price", "near"]),
        ("similar-images", {}, ["image"]),
        ("similar-images", {"id": "red", "image": "eA=="}, ["image"]),
        ("similar-images", {"image": "http://127.0.0.1/a.png"}, ["image"]),
        ("similar-texts", {"query": "x", "id": "t-red"}, ["query"]),
        ("similar-texts", {"query": ""}, ["query"]),
    ],
)
async def test_bad_fields_are_named(client: httpx.AsyncClient, route: str, body: object, place: list[str]) -> None:
    answer = await client.post(f"/search/{route}", json=body)
    assert places(problem(answer, 422, "validation_failed")) == [place]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"n_results": "0"}, ["n_results"]),
        ({"n_results": "x"}, ["n_results"]),
        ({"exact": "True"}, ["exact"]),
        ({"exact": "1"}, ["exact"]),
        ({"exact": ""}, ["exact"]),
        ({"filter": "{"}, ["filter"]),
        ({"k": "1"}, ["k"]),
    ],
)
async def test_bad_form_fields_are_named(client: httpx.AsyncClient, data: dict[str, str], place: list[str]) -> None:
    answer = await client.post("/search/similar-images", files=upload(picture("red"), field="file"), data=data)
    assert places(problem(answer, 422, "validation_failed")) == [place]


async def test_too_long_a_query(client: httpx.AsyncClient) -> None:
    answer = await client.post("/search/text-to-image", json={"query": "x" * 501})
    assert problem(answer, 422, "text_too_long")["detail"] == "the text has 501 characters; at most 500 are allowed"


async def test_pictures_that_cannot_be_used(client: httpx.AsyncClient) -> None:
    bad = await client.post("/search/similar-images", files=upload(b"garbage", field="file"))
    assert places(problem(bad, 422, "image_undecodable")) == [["file"]]
    pdf = await client.post("/search/similar-images", files=upload(b"%PDF-1.7 ...", field="file"))
    problem(pdf, 415, "unsupported_media_type")
    thin = await client.post("/search/image-to-text", files=upload(picture_of(1, 300), field="file"))
    problem(thin, 422, "image_too_large")
    none = await client.post("/search/similar-images", data={"n_results": "1"}, files=upload(b"x", field="other"))
    problem(none, 422, "validation_failed")


def picture_of(width: int, height: int) -> bytes:
    return encoded(Image.new("RGB", (width, height)), "PNG")


@pytest.mark.parametrize("route", ["similar-images", "image-to-text", "similar-texts"])
async def test_an_unknown_id_is_404(client: httpx.AsyncClient, route: str) -> None:
    answer = await client.post(f"/search/{route}", json={"id": "nobody"})
    assert "'nobody'" in problem(answer, 404, "not_found")["detail"]


async def test_interactive_queries_are_embedded_once_each(client: httpx.AsyncClient, model: ColourModel) -> None:
    seen = len(model.texts_seen)
    await client.post("/search/text-to-image", json={"query": "one query"})
    assert model.texts_seen[seen:] == ["one query"]


async def test_diverse_pages_are_slices_of_one_order(client: httpx.AsyncClient) -> None:
    shades = [picture((250 - 7 * step, 5 * step, 9 * step % 40)) for step in range(20)]
    await client.post("/index/images", files=upload(*shades))
    query = {"query": "red", "diversity": 0.6}
    whole = ids(await client.post("/search/text-to-image", json=query | {"n_results": 20}))
    pages = [
        ids(await client.post("/search/text-to-image", json=query | {"n_results": 5, "offset": offset}))
        for offset in range(0, 20, 5)
    ]
    assert [each for page in pages for each in page] == whole
    assert len(set(whole)) == 20


@pytest.mark.parametrize("query", ["\u200b\u200b", "\x00\x01", "\u00ad"])
async def test_a_query_of_nothing_that_shows_is_empty(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.post("/search/text-to-image", json={"query": query})
    assert "is empty" in problem(answer, 422, "validation_failed")["detail"]
