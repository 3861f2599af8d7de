"""Ten thousand texts and two thousand pictures through HTTP, without one failed request."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.pictures import encoded, photograph
from tools.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TEXTS, TEXTS_A_REQUEST = 10_000, 500
PICTURES, PICTURES_A_REQUEST = 2_000, 50
CLIENTS = 8


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


async def test_everything_sent_is_indexed_and_found(empty_server: Server) -> None:
    outcomes: Counter[tuple[int, int, int]] = Counter()
    room = asyncio.Semaphore(CLIENTS)

    async with httpx.AsyncClient(base_url=empty_server.url, timeout=120) as client:

        async def texts(start: int) -> None:
            async with room:
                items = [f"text number {number}" for number in range(start, start + TEXTS_A_REQUEST)]
                count(await client.post("/index/texts", json={"items": items}))

        async def pictures(start: int) -> None:
            async with room:
                files = [
                    ("files", (f"{number}.jpg", encoded(photograph(96, 72, seed=number), "JPEG")))
                    for number in range(start, start + PICTURES_A_REQUEST)
                ]
                count(await client.post("/index/images", files=files))

        def count(answer: httpx.Response) -> None:
            body = answer.json()
            outcomes[answer.status_code, body["unchanged"], body["failed"]] += body["indexed"]

        await asyncio.gather(
            *(texts(start) for start in range(0, TEXTS, TEXTS_A_REQUEST)),
            *(pictures(start) for start in range(0, PICTURES, PICTURES_A_REQUEST)),
        )
        assert outcomes == {(200, 0, 0): TEXTS + PICTURES}
        stats = (await client.get("/stats")).json()
        assert (stats["texts_indexed"], stats["images_indexed"]) == (TEXTS, PICTURES)
        found = await client.post("/search/similar-texts", json={"query": "text number 4711", "n_results": 1000})
        assert found.json()["results"][0]["text"] == "text number 4711"
