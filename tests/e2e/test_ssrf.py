"""Forged URLs sent to the running service, and a canary that would tell."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.pictures import RED, encoded, solid
from tests.ssrf import FORMS, LISTED
from tests.webserver import WebServer, canary, ok, redirect
from tools.servers import Server

pytestmark = pytest.mark.e2e

JSON = {"content-type": "application/json"}
PICTURE = encoded(solid(RED, (64, 64)), "PNG")


@pytest.fixture
async def trap() -> AsyncIterator[WebServer]:
    async with canary() as server:
        yield server


@pytest.fixture
async def site() -> AsyncIterator[WebServer]:
    """An internal picture server the operator has named."""
    async with WebServer({"/red.png": ok(PICTURE)}, hosts=("127.0.0.1",)) as server:
        yield server


@pytest.fixture
async def client(tmp_path: Path, trap: WebServer, site: WebServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that fetches whatever is public.

    The canary's hosts are listed with its port, so that only the check of addresses stands between them.
    """
    server = Server(
        tmp_path,
        FETCH_URLS="public",
        FETCH_HOSTS=",".join(f"{host}:{trap.port}" for host in LISTED),
        FETCH_PRIVATE_HOSTS=f"localhost:{site.port}",
        FETCH_TIMEOUT="5",
    )
    try:
        server.wait_until_ready()
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            yield client
    finally:
        server.stop()


async def test_no_form_reaches_the_canary_and_the_service_lives(
    client: httpx.AsyncClient, trap: WebServer, site: WebServer
) -> None:
    for location in [f"http://127.0.0.1:{trap.port}/", f"http://localhost:{trap.port}/", "http://169.254.169.254/"]:
        site.answers[f"/{len(site.answers)}"] = redirect(location)
    own = [f"http://localhost:{site.port}{path}" for path in site.answers if path != "/red.png"]
    for url in [*(form.at(trap.port) for form in FORMS), *own]:
        for route, body in (
            ("/embed/images", {"images": [url]}),
            ("/index/images", {"items": [{"image": url}]}),
        ):
            # Escaped, because some forms hold what UTF-8 cannot.
            answer = await client.post(route, content=json.dumps(body), headers=JSON)
            assert 400 <= answer.status_code < 500, (url, route, answer.text)
            assert "secret" not in answer.text, (url, route, answer.text)
            assert trap.connections == 0, (url, route)
    assert site.connections == 2 * len(own)

    good = f"http://localhost:{site.port}/red.png"
    answer = await client.post("/index/images", json={"items": [{"image": good, "id": "red"}]})
    assert [each["status"] for each in answer.json()["results"]] == ["indexed"]
    answer = await client.get("/images/red")
    assert answer.content == PICTURE
    answer = await client.post("/embed/images", json={"images": [good]})
    assert answer.status_code == 200
