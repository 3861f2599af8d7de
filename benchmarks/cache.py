"""What the memory of embeddings is worth over HTTP, in one run: `python -m benchmarks.cache`.

Searches by a text that nobody asked for before and by one that was asked already, in turns on one server, alone and with
many clients. Uses the bundled model unless CROSSMODAL_MODEL names another.
"""

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.service import throughput
from tools.servers import Server

LONE, CLIENTS, REQUESTS, ROUNDS = 40, 32, 400, 3
KNOWN = "three bananas on a blue background"


async def measure(url: str) -> None:
    """Print medians of both sorts of queries, and their ratio."""
    numbers = itertools.count()
    times: dict[str, list[float]] = {"new": [], "known": []}
    rates: dict[str, list[float]] = {"new": [], "known": []}

    async def search(client: httpx.AsyncClient, sort: str) -> httpx.Response:
        query = KNOWN if sort == "known" else f"{next(numbers)} bananas on a blue background"
        return await client.post("/search/text-to-image", json={"query": query, "n_results": 5})

    async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=CLIENTS)) as client:
        (await search(client, "known")).raise_for_status()
        for number in range(2 * LONE):
            sort = ("new", "known")[number % 2]
            began = time.perf_counter()
            (await search(client, sort)).raise_for_status()
            times[sort].append((time.perf_counter() - began) * 1000)
        for _ in range(ROUNDS):
            for sort, found in rates.items():
                send = lambda client, _, sort=sort: search(client, sort)  # noqa: E731  one line, used once
                found.append(await throughput(client, send, clients=CLIENTS, requests=REQUESTS))
    lone = {sort: statistics.median(found) for sort, found in times.items()}
    rate = {sort: statistics.median(found) for sort, found in rates.items()}
    print(
        f"lone query, ms      new {lone['new']:8.1f}   known {lone['known']:8.1f}   {lone['new'] / lone['known']:.2f}x"
    )
    print(
        f"{CLIENTS} clients, /s      new {rate['new']:8.1f}   known {rate['known']:8.1f}   {rate['known'] / rate['new']:.2f}x"
    )


def main() -> None:
    """Measure with the model in the API's process and in the Encoder service."""
    name = os.environ.get("CROSSMODAL_MODEL", "tiny")
    for way in ("local", "service"):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder), MODEL=name, STORE="memory:", ENCODER=way)
            try:
                server.wait_until_ready()
                print(f"model {name}, encoder {way}, {os.cpu_count()} cores")
                asyncio.run(measure(server.url))
            finally:
                server.stop()


if __name__ == "__main__":
    main()
