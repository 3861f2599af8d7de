"""Pictures by URL in every route that takes a picture as a string; the fetching itself is faked."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.search.intake import FetchLimits
from crossmodal.settings import Settings
from crossmodal.wiring import Container, build_container
from tests.fakes import ColourModel, FakeFetcher
from tests.unit.api.helpers import data_url, ids, index_colours, picture, places, problem

RED = "https://pictures.example/red.png"
GREEN = "http://pictures.example/green.png"
PAGE = "http://pictures.example/page.html"
ABSENT = "http://pictures.example/absent.png"


@pytest.fixture
def fetcher() -> FakeFetcher:
    return FakeFetcher({RED: picture("red"), GREEN: picture("green", kind="WEBP"), PAGE: b"<html>no picture</html>"})


@pytest.fixture
async def container(tmp_path: Path, fetcher: FakeFetcher) -> AsyncIterator[Container]:
    """The usual container, with a fetcher; ``build_container`` gives one only that goes to real addresses."""
    built = build_container(Settings(store="memory:", data=tmp_path), LocalEncoder(ColourModel(), BatchLimits()))
    built.pictures._fetcher = fetcher
    built.pictures._fetch_limits = FetchLimits(10_000, 5.0)
    await built.open()
    yield built
    await built.close()


async def test_a_url_is_indexed_like_its_bytes_and_fails_alone(client: httpx.AsyncClient) -> None:
    items = [{"image": url} for url in (ABSENT, RED, PAGE, GREEN, data_url(picture("red")), "ftp://pictures.example/")]
    answer = await client.post("/index/images", json={"items": items})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [each["status"] for each in results] == ["failed", "indexed", "failed", "indexed", "unchanged", "failed"]
    assert results[1]["id"] == results[4]["id"]
    codes = [each["error"]["code"] for each in results if "error" in each]
    assert codes == ["validation_failed", "unsupported_media_type", "validation_failed"]
    assert "fetch;dur=" in answer.headers["server-timing"]


async def test_a_request_of_nothing_but_bad_urls_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/images", json={"items": [{"image": ABSENT}, {"image": ABSENT}]})
    assert places(problem(answer, 422, "validation_failed")) == [["items", 0], ["items", 1]]


async def test_a_url_is_a_query(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    assert ids(await client.post("/search/similar-images", json={"image": GREEN, "n_results": 1})) == ["green"]
    assert ids(await client.post("/search/image-to-text", json={"image": RED, "n_results": 1})) == ["t-red"]
    answer = await client.post("/search/similar-images", json={"image": ABSENT})
    assert places(problem(answer, 422, "validation_failed")) == [["image"]]


async def test_urls_are_compared_and_embedded(client: httpx.AsyncClient) -> None:
    by_url = await client.post("/similarity", json={"text": "red", "image": RED})
    by_bytes = await client.post("/similarity", json={"text": "red", "image": data_url(picture("red"))})
    assert by_url.json() == by_bytes.json()
    matrix = await client.post("/similarity", json={"texts": ["red", "green"], "images": [GREEN, RED]})
    (red_green, red_red), (green_green, green_red) = matrix.json()["similarity"]
    assert red_red > red_green
    assert green_green > green_red
    answer = await client.post("/embed/images", json={"images": [RED, data_url(picture("red"))]})
    first, second = answer.json()["embeddings"]
    assert first == second


@pytest.mark.parametrize(
    ("route", "body", "place"),
    [
        ("/similarity", {"text": "red", "image": ABSENT}, ["image"]),
        ("/similarity", {"texts": ["red"], "images": [RED, ABSENT]}, ["images", 1]),
        ("/embed/images", {"images": [RED, GREEN, ABSENT]}, ["images", 2]),
        ("/embed/images", {"images": [RED, PAGE]}, ["images", 1]),
    ],
)
async def test_a_bad_url_is_named_by_its_place(
    client: httpx.AsyncClient, route: str, body: dict[str, object], place: list[object]
) -> None:
    answer = await client.post(route, json=body)
    assert answer.status_code in {415, 422}
    assert places(answer.json()) == [place]


async def test_the_pictures_of_a_request_share_a_limit(client: httpx.AsyncClient, fetcher: FakeFetcher) -> None:
    fetcher.pages["http://pictures.example/large"] = bytes(6000)
    answer = await client.post("/embed/images", json={"images": ["http://pictures.example/large"] * 2})
    assert "together" in problem(answer, 413, "payload_too_large")["detail"]
