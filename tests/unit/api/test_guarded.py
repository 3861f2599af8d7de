"""The whole API behind the gate: what its work costs, and who may keep its pictures."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits, create_app
from crossmodal.api.gate import Gatekeeper
from crossmodal.api.keyring import KeyRing
from crossmodal.wiring import Container
from tests.keys import entry, write_keys
from tests.unit.api.conftest import MAX_BODY
from tests.unit.api.helpers import data_url, picture, problem, upload

BURST = 10_000.0
KEY = {"authorization": "Bearer cms_a"}
SIDE = 100
MEGAPIXELS = SIDE * SIDE / 1e6


class Bill:
    """What a key has spent so far, in units of work; no time passes."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._before = 0.0

    def since_last(self) -> float:
        spent = BURST - self._gatekeeper._buckets._buckets["a"].balance
        units, self._before = spent - self._before, spent
        return units


@pytest.fixture
def gatekeeper(tmp_path: Path) -> Gatekeeper:
    keys = write_keys(
        tmp_path / "keys.json", entry("cms_a", scopes=["admin"]), entry("cms_r"), entry("cms_s", burst=20)
    )
    return Gatekeeper(KeyRing(keys), rate=1.0, burst=BURST, clock=lambda: 0.0)


@pytest.fixture
async def guarded(container: Container, gatekeeper: Gatekeeper) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app()
    app.state.container = container
    transport = httpx.ASGITransport(EdgeMiddleware(app, traffic=Traffic(TrafficLimits(body=MAX_BODY)), gate=gatekeeper))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=KEY) as client:
        yield client


async def test_requests_items_and_megapixels_are_charged(guarded: httpx.AsyncClient, gatekeeper: Gatekeeper) -> None:
    bill = Bill(gatekeeper)
    await guarded.get("/stats")
    assert bill.since_last() == 1
    answer = await guarded.post("/index/texts", json={"items": ["one", "two", "three", ""]})
    assert answer.json()["indexed"] == 3
    assert bill.since_last() == 1 + 4
    content = picture("red", SIDE)
    answer = await guarded.post("/index/images", files=upload(content, picture("blue", SIDE), b"no picture"))
    assert answer.json()["indexed"] == 2
    # What is no picture is charged for the time it took.
    assert bill.since_last() == pytest.approx(1 + 3 + 2 * MEGAPIXELS, abs=2)

    assert (await guarded.post("/search/text-to-image", json={"query": "red"})).status_code == 200
    assert bill.since_last() == pytest.approx(1 + 1)
    assert (await guarded.post("/search/similar-images", files=upload(content, field="file"))).status_code == 200
    assert bill.since_last() == pytest.approx(1 + 1 + MEGAPIXELS)
    assert (await guarded.post("/embed/texts", json={"texts": ["a", "b"]})).status_code == 200
    assert bill.since_last() == pytest.approx(1 + 2)
    assert (await guarded.post("/embed/images", files=upload(content, content))).status_code == 200
    assert bill.since_last() == pytest.approx(1 + 2 + 2 * MEGAPIXELS)
    body = {"text": "red", "image": data_url(content)}
    assert (await guarded.post("/similarity", json=body)).status_code == 200
    assert bill.since_last() == pytest.approx(1 + 2 + MEGAPIXELS)


async def test_pictures_that_needed_a_key_are_kept_from_shared_caches(
    guarded: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    for way, expected in ((client, "public, max-age="), (guarded, "private, max-age=")):
        answer = await way.post("/index/images", files=upload(picture("red")))
        found = await way.get(f"/images/{answer.json()['results'][0]['id']}")
        assert (found.status_code, found.headers["vary"]) == (200, "Authorization")
        assert found.headers["cache-control"].startswith(expected)


async def test_refusals_are_problems_with_what_belongs_to_them(guarded: httpx.AsyncClient) -> None:
    answer = await guarded.get("/stats", headers={"authorization": "Bearer cms_x"})
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="crossmodal", error="invalid_token"'
    answer = await guarded.post("/index/texts", json={"items": ["a"]}, headers={"authorization": "Bearer cms_r"})
    assert "'write'" in problem(answer, 403, "forbidden")["detail"]
    slow = {"authorization": "Bearer cms_s"}
    answer = await guarded.post("/embed/texts", json={"texts": ["a"] * 50}, headers=slow)
    assert answer.status_code == 200
    answer = await guarded.get("/stats", headers=slow)
    assert "1 units of work a second" in problem(answer, 429, "rate_limited")["detail"]
    # 20 - 1 - 50 = -31, and the balance has to be positive.
    assert answer.headers["retry-after"] == "32"
    assert "www-authenticate" not in answer.headers
    assert (await guarded.get("/stats")).status_code == 200, "another key is not held up by it"


async def test_the_document_says_how_keys_travel_and_needs_none(guarded: httpx.AsyncClient) -> None:
    document = (await guarded.get("/docs.json", headers={"authorization": ""})).json()
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"key": []}, {}]


async def test_what_needs_no_key_takes_no_place(container: Container, gatekeeper: Gatekeeper) -> None:
    app = create_app()
    app.state.container = container
    traffic = Traffic(TrafficLimits(concurrency=1))
    transport = httpx.ASGITransport(EdgeMiddleware(app, traffic=traffic, gate=gatekeeper))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=KEY) as client:
        with traffic.place("/stats"):
            assert (await client.get("/docs.json")).status_code == 200
            problem(await client.get("/stats"), 429, "overloaded")
