"""The running service against its own ceiling, in one run: `make bench`.

Ceiling: decoding and encoding in this process at the best batch, no HTTP. Then the same pictures and texts over HTTP on
loopback, with the model in the API's process and in the Encoder service: throughput with many clients, and the latency
of a lone request on a quiet server and right after a burst. Rounds of all of these are interleaved and the medians
compared, so that a busy neighbour hits all alike. Uses the bundled model unless CROSSMODAL_MODEL names another.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np

from crossmodal import imaging
from crossmodal.clip.base import ClipModel
from crossmodal.settings import Settings
from crossmodal.startup import build_model
from tools.servers import ROOT, Server

BATCH_IMAGES, BATCH_TEXTS = 16, 32
BURST = 200
LONE = 15
TEXTS = [f"{count} {thing} on a {colour} background" for count in ("one", "two", "three", "four")
         for thing in ("bananas", "dogs", "cars", "apples") for colour in ("red", "green", "blue")]  # fmt: skip

Send = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]


def pictures() -> list[bytes]:
    """The rendered sample pictures, encoded."""
    return [path.read_bytes() for path in sorted((ROOT / "samples" / "images").glob("*.webp"))[:64]]


def ceiling_images(model: ClipModel, contents: list[bytes]) -> float:
    """Pictures a second, decoded and encoded one batch after the other."""
    began = time.perf_counter()
    for start in range(0, len(contents), BATCH_IMAGES):
        batch = [
            imaging.to_pixels(imaging.decode(each), model.info.preprocessing)
            for each in contents[start : start + BATCH_IMAGES]
        ]
        model.embed_pixels(np.stack(batch))
    return len(contents) / (time.perf_counter() - began)


def ceiling_texts(model: ClipModel) -> float:
    """Texts a second, in full batches."""
    texts = TEXTS * 4
    began = time.perf_counter()
    for start in range(0, len(texts), BATCH_TEXTS):
        model.embed_texts(texts[start : start + BATCH_TEXTS])
    return len(texts) / (time.perf_counter() - began)


async def throughput(client: httpx.AsyncClient, send: Send, *, clients: int, requests: int) -> float:
    """Answers a second with ``clients`` that each wait for their answer. Raises if one is not 200."""
    numbers = iter(range(requests))

    async def one() -> None:
        for number in numbers:
            (await send(client, number)).raise_for_status()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return requests / (time.perf_counter() - began)


async def lone(client: httpx.AsyncClient, send: Send) -> float:
    """Median milliseconds of a request that is alone."""
    times = []
    for number in range(LONE):
        began = time.perf_counter()
        (await send(client, number)).raise_for_status()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def measure(server: Server, contents: list[bytes], clients: int) -> dict[str, float]:
    """One round over one server."""

    async def image(client: httpx.AsyncClient, number: int) -> httpx.Response:
        return await client.post("/embed/images", files={"files": ("x", contents[number % len(contents)])})

    async def text(client: httpx.AsyncClient, number: int) -> httpx.Response:
        return await client.post("/embed/texts", json={"texts": [TEXTS[number % len(TEXTS)]]})

    figures: dict[str, float] = {}
    async with httpx.AsyncClient(
        base_url=server.url, timeout=120, limits=httpx.Limits(max_connections=clients)
    ) as client:
        for name, send in (("image", image), ("text", text)):
            figures[f"lone {name}, ms"] = await lone(client, send)
            figures[f"{name}s/s"] = await throughput(client, send, clients=clients, requests=BURST)
            figures[f"lone {name} after a burst, ms"] = await lone(client, send)
    return figures


def main() -> None:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args()
    name = os.environ.get("CROSSMODAL_MODEL", "tiny")
    contents, model = pictures(), build_model(Settings(model=name))
    ceiling_images(model, contents)
    rounds: dict[str, list[dict[str, float]]] = {"ceiling": [], "local": [], "service": []}
    with tempfile.TemporaryDirectory() as folder:
        servers = {
            # Without the memory of embeddings, or the same few pictures and texts would measure it alone.
            way: Server(Path(folder) / way, MODEL=name, STORE="memory:", ENCODER=way, CACHE_BYTES="0")
            for way in ("local", "service")
        }
        try:
            for server in servers.values():
                server.wait_until_ready()
            for _ in range(arguments.rounds):
                rounds["ceiling"].append({"images/s": ceiling_images(model, contents), "texts/s": ceiling_texts(model)})
                for way, server in servers.items():
                    rounds[way].append(asyncio.run(measure(server, contents, arguments.clients)))
        finally:
            for server in servers.values():
                server.stop()
    report(name, model, rounds)


def report(name: str, model: ClipModel, rounds: dict[str, list[dict[str, float]]]) -> None:
    """Print medians and ratios; write them to benchmarks/results/service.json."""
    medians = {
        way: {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        for way, figures in rounds.items()
    }
    print(f"model {name}, {model.info.device}, {model.info.precision}, {os.cpu_count()} cores")
    for way, figures in medians.items():
        for key, value in figures.items():
            ratio = (
                f"  {value / medians['ceiling'][key]:.2f} of the ceiling"
                if key in medians["ceiling"] and way != "ceiling"
                else ""
            )
            print(f"{way:8} {key:30} {value:9.1f}{ratio}")
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "service.json").write_text(
        json.dumps({"model": name, "medians": medians, "rounds": rounds}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
