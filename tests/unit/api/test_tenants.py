"""Two callers of one service, each with a tenant of its own: neither finds, sees, counts or removes what is the other's."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits, create_app
from crossmodal.api.caller import Caller, Right, set_caller
from crossmodal.media import MediaStore
from crossmodal.search.indexing import Indexing
from crossmodal.search.library import Library
from crossmodal.search.reading import TextReader
from crossmodal.search.writing import ItemWriter
from crossmodal.settings import Settings
from crossmodal.store.base import VectorStore
from crossmodal.store.exact import ExactStore
from crossmodal.wiring import Container
from tests.fakes import ForgetfulStore
from tests.unit.api.conftest import MAX_BODY
from tests.unit.api.helpers import data_url, ids, index_colours, picture, problem, querying_over, upload

RED = picture("red")
Call = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


class AsCaller:
    """Every request comes from one caller."""

    def __init__(self, app: ASGIApp, tenant: str) -> None:
        self._app = app
        self._caller = Caller(tenant, frozenset(Right), f"key of {tenant}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        set_caller(cast("dict[str, object]", scope), self._caller)
        await self._app(scope, receive, send)


@asynccontextmanager
async def client_of(app: FastAPI, tenant: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(
        EdgeMiddleware(AsCaller(app, tenant), traffic=Traffic(TrafficLimits(body=MAX_BODY)))
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def app(container: Container) -> FastAPI:
    app = create_app()
    app.state.container = container
    return app


@pytest.fixture
async def acme(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, "acme") as client:
        yield client


@pytest.fixture
async def globex(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, "globex") as client:
        yield client


def get(url: str) -> Call:
    return lambda client: client.get(url)


def post(url: str, **body: Any) -> Call:
    return lambda client: client.post(url, json=body)


BY_ID: dict[str, Call] = {
    "GET /items/{modality}/{item_id}": get("/items/image/red"),
    "GET /items/{modality}/{item_id} of a text": get("/items/text/t-red"),
    "DELETE /items/{modality}/{item_id}": lambda client: client.delete("/items/image/red"),
    "DELETE /items/{modality}/{item_id} of a text": lambda client: client.delete("/items/text/t-red"),
    "GET /images/{item_id}": get("/images/red"),
    "GET /images/{item_id}/thumbnail": get("/images/red/thumbnail"),
    "POST /search/image-to-text": post("/search/image-to-text", id="red"),
    "POST /search/similar-images": post("/search/similar-images", id="red"),
    "POST /search/similar-texts": post("/search/similar-texts", id="t-red"),
    "POST /search": post("/search", parts=[{"text": "red"}, {"id": "red"}]),
    "POST /search of a text": post("/search", parts=[{"id": "t-red", "modality": "text", "weight": 2}]),
    "POST /search of something unwanted": post("/search", parts=[{"text": "blue"}, {"id": "red", "weight": -1}]),
    "POST /recommend": post("/recommend", liked=["red"]),
    "POST /recommend of a text": post("/recommend", liked=["t-red"], modality="text"),
    "POST /describe": post("/describe", id="red"),
    "POST /moderate": post("/moderate", id="red"),
    "POST /classify": post("/classify", id="red", labels=["red", "blue"]),
}
"""Each route that takes an id, asked for one that only Acme has."""

SEARCHES: dict[str, Call] = {
    "POST /search/text-to-image": post("/search/text-to-image", query="red", n_results=50),
    "POST /search/text-to-image, diverse": post("/search/text-to-image", query="red", n_results=50, diversity=0.5),
    "POST /search/text-to-image, filtered": post(
        "/search/text-to-image", query="red", filter={"not": {"colour": "none"}}
    ),
    "POST /search/image-to-text": post("/search/image-to-text", image=data_url(RED), n_results=50),
    "POST /search/image-to-text, uploaded": lambda client: client.post(
        "/search/image-to-text", files=upload(RED, field="file")
    ),
    "POST /search/similar-images": post("/search/similar-images", image=data_url(picture("white"))),
    "POST /search/similar-images, uploaded": lambda client: client.post(
        "/search/similar-images", files=upload(picture("white"), field="file")
    ),
    "POST /search/similar-texts": post("/search/similar-texts", query="red"),
    "POST /search": post("/search", parts=[{"text": "red"}], target="any", n_results=50),
    "POST /search, with something unwanted": post(
        "/search", parts=[{"text": "red"}, {"text": "blue", "weight": -1}], target="any", explain=True, n_results=50
    ),
}
"""Each route that searches."""

ELSEWHERE = {
    "GET /items/{modality}",  # test_listing_is_within_the_tenant
    "GET /stats",  # test_stats_count_the_tenants_items
    "POST /index/images",  # test_indexing_tells_nothing_of_others
    "POST /index/texts",
    "POST /duplicates",  # test_duplicates_are_within_the_tenant
}
WITHOUT_ITEMS = {
    "POST /similarity",
    "POST /embed/texts",
    "POST /embed/images",
    "POST /v1/embeddings",
    "GET /v1/models",
    "GET /v1/models/{model_id}",
}


def test_every_route_is_thought_of(app: FastAPI) -> None:
    """Fails when a route is added: put it into ``BY_ID`` or ``SEARCHES``, or test it and name it in ``ELSEWHERE``."""
    asked = {name.partition(",")[0].partition(" of ")[0] for name in (*BY_ID, *SEARCHES)}
    # HEAD is answered by what answers GET.
    paths = app.openapi()["paths"].items()
    there = {f"{method.upper()} {path}" for path, methods in paths for method in methods if method != "head"}
    assert there == asked | ELSEWHERE | WITHOUT_ITEMS


@pytest.mark.parametrize("name", BY_ID)
async def test_the_id_of_another_tenant_is_not_found(
    acme: httpx.AsyncClient, globex: httpx.AsyncClient, name: str
) -> None:
    nobodys = problem(await BY_ID[name](globex), 404, "not_found")
    await index_colours(acme)
    theirs = problem(await BY_ID[name](globex), 404, "not_found")
    assert theirs | {"request_id": ""} == nobodys | {"request_id": ""}  # it cannot be told from one that nobody has
    assert (await BY_ID[name](acme)).status_code in {200, 204}  # and was not removed by the asking


@pytest.mark.parametrize("name", SEARCHES)
async def test_searches_find_the_tenants_own(acme: httpx.AsyncClient, globex: httpx.AsyncClient, name: str) -> None:
    await index_colours(acme)
    assert ids(await SEARCHES[name](globex)) == []
    green = [{"image": data_url(picture("green")), "id": "only", "metadata": {"colour": "green"}}]
    await globex.post("/index/images", json={"items": green})
    await globex.post("/index/texts", json={"items": [{"text": "a green thing", "id": "only"}]})
    assert set(ids(await SEARCHES[name](globex))) == {"only"}
    images, texts = {"red", "green", "blue"}, {"t-red", "t-green", "t-blue"}
    assert set(ids(await SEARCHES[name](acme))) in (images, texts, images | texts)


async def test_duplicates_are_within_the_tenant(acme: httpx.AsyncClient, globex: httpx.AsyncClient) -> None:
    await index_colours(acme)
    await index_colours(globex)
    again = {"image": data_url(RED), "id": "red again", "metadata": {"colour": "red"}}
    await globex.post("/index/images", json={"items": [again]})
    every = {"method": "exact", "filter": {"or": [{"colour": "red"}, {"not": {"colour": "red"}}]}}
    for client, groups in ((acme, []), (globex, [["red", "red again"]])):
        answer = (await client.post("/duplicates", json=every)).json()
        assert [group["ids"] for group in answer["groups"]] == groups
    assert (await acme.post("/duplicates", json=every)).json()["examined"] == 3


async def test_listing_is_within_the_tenant(acme: httpx.AsyncClient, globex: httpx.AsyncClient) -> None:
    await index_colours(acme)
    await index_colours(globex)
    await globex.delete("/items/text/t-red")
    for client, count in ((acme, 3), (globex, 2)):
        for params in ({}, {"filter": '{"not": {"colour": "none"}}'}):
            assert len((await client.get("/items/text", params=params)).json()["items"]) == count
    cursor = (await acme.get("/items/text", params={"limit": "1"})).json()["next_cursor"]
    assert (await acme.get("/items/text", params={"cursor": cursor})).status_code == 200
    refused = problem(await globex.get("/items/text", params={"cursor": cursor}), 422, "validation_failed")
    garbage = problem(await globex.get("/items/text", params={"cursor": "A" * 28}), 422, "validation_failed")
    assert (refused["detail"], refused["errors"]) == (garbage["detail"], garbage["errors"])


async def test_stats_count_the_tenants_items(acme: httpx.AsyncClient, globex: httpx.AsyncClient) -> None:
    await index_colours(acme)
    await globex.post("/index/texts", json={"items": ["one"]})
    counts = [(await client.get("/stats")).json() for client in (acme, globex)]
    assert [(each["images_indexed"], each["texts_indexed"]) for each in counts] == [(3, 3), (0, 1)]


async def test_indexing_tells_nothing_of_others(acme: httpx.AsyncClient, globex: httpx.AsyncClient) -> None:
    """What another tenant has indexed is new here, under the same id and with the same bytes, and stays as it is there."""
    for client, metadata in ((acme, '[{"of": "acme"}]'), (globex, '[{"of": "globex"}]')):
        first = await client.post("/index/images", files=upload(RED), data={"ids": '["x"]', "metadata": metadata})
        assert first.json()["results"] == [{"id": "x", "status": "indexed"}]
        again = await client.post("/index/images", files=upload(RED), data={"ids": '["x"]'})
        assert again.json()["results"] == [{"id": "x", "status": "unchanged"}]
        text = await client.post("/index/texts", json={"items": [{"text": "words", "id": "t"}]})
        (result,) = text.json()["results"]
        assert (result["id"], result["status"]) == ("t", "indexed")
    for client, tenant in ((acme, "acme"), (globex, "globex")):
        assert (await client.get("/items/image/x")).json()["metadata"] == {"of": tenant}


def kept(settings: Settings) -> set[tuple[str, str]]:
    """Tenant's folder and name of every file that is kept."""
    media = Path(settings.media_url)
    files = (path.relative_to(media) for path in media.rglob("*") if path.is_file())
    return {(path.parts[0], path.name) for path in files}


async def test_a_shared_picture_stays_with_whoever_keeps_it(
    acme: httpx.AsyncClient, globex: httpx.AsyncClient, settings: Settings
) -> None:
    for client in (acme, globex):
        await client.post("/index/images", files=upload(RED), data={"ids": '["x"]'})
    assert {owner for owner, _ in kept(settings)} == {"acme", "globex"}
    assert (await acme.delete("/items/image/x")).status_code == 204
    problem(await acme.get("/images/x"), 404, "not_found")
    assert (await globex.get("/images/x")).content == RED
    assert (await globex.get("/images/x/thumbnail")).status_code == 200
    assert {owner for owner, _ in kept(settings)} == {"globex"}
    # Within the tenant a file goes with the last item that needs it.
    await globex.post("/index/images", files=upload(RED), data={"ids": '["y"]'})
    await globex.delete("/items/image/y")
    assert (await globex.get("/images/x")).content == RED
    # Another picture under the id lets the old one's file go, in this tenant alone.
    await acme.post("/index/images", files=upload(RED), data={"ids": '["x"]'})
    await globex.post("/index/images", files=upload(picture("blue")), data={"ids": '["x"]'})
    assert (await acme.get("/images/x")).content == RED
    assert (await globex.get("/images/x")).content == picture("blue")


async def test_a_picture_of_the_same_bytes_is_left_out_within_the_tenant(
    acme: httpx.AsyncClient, globex: httpx.AsyncClient
) -> None:
    await index_colours(acme)
    await globex.post("/index/images", files=upload(RED, picture("blue")), data={"ids": '["r", "b"]'})
    assert ids(await globex.post("/search/similar-images", files=upload(RED, field="file"))) == ["b"]
    assert set(ids(await acme.post("/search/similar-images", json={"id": "red"}))) == {"green", "blue"}


def with_store(container: Container, store: VectorStore) -> Container:
    """The same service over another store."""
    encoder, pictures = container.encoder, container.pictures
    texts = TextReader(encoder, max_text_chars=container.settings.max_text_chars)
    media = MediaStore(container.settings.media_url)
    writer = ItemWriter(store, media)
    return replace(
        container,
        store=store,
        indexing=Indexing(encoder, store, writer, pictures, texts),
        querying=querying_over(store, container),
        library=Library(encoder, store, media, writer),
    )


@pytest.mark.parametrize("forgets", [False, True])
async def test_these_tests_see_a_store_that_forgets_the_tenant(container: Container, *, forgets: bool) -> None:
    app = create_app()
    app.state.container = with_store(container, ForgetfulStore() if forgets else ExactStore())
    await app.state.container.open()
    async with client_of(app, "acme") as acme, client_of(app, "globex") as globex:
        await index_colours(acme)
        for name in ("GET /items/{modality}/{item_id}", "POST /search/similar-images"):
            assert (await BY_ID[name](globex)).status_code == (200 if forgets else 404)
        assert bool(ids(await SEARCHES["POST /search/text-to-image"](globex))) is forgets
        assert (await globex.get("/stats")).json()["images_indexed"] == (3 if forgets else 0)
