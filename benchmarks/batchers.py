"""Our batcher against BentoML's, over HTTP in one run: `python -m benchmarks.batchers`. docs/adr/0004 was decided on it.

Three servers: our batcher with the model in the API's process, our batcher in the Encoder service, BentoML's dispatcher in
the Encoder service. On each: throughput and latency with 1 to 128 clients, the latency of a lone request on a quiet server
and right after a burst, and how large batches became. The servers take turns within every round, so that a busy
neighbour hits all alike; medians of the rounds are compared. The bundled model unless --model names another; of
ViT-B-32 with random weights, which cost as much as trained ones, with --model random.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.inputs import captions, photographs, random_model
from tools.load import Client, Outcome, closed_loop, multipart, request_bytes
from tools.servers import ROOT, Server, end_as_if_interrupted

WAYS: dict[str, dict[str, str]] = {
    "local, ours": {"ENCODER": "local"},
    "service, ours": {"ENCODER": "service", "BATCHER": "ours"},
    "service, bentoml": {"ENCODER": "service", "BATCHER": "bentoml"},
}
CLIENTS = (1, 8, 32, 128)
LONE = 12
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)

Figures = dict[str, float]


def requests_of(kind: str) -> list[bytes]:
    """Requests of one text or picture each."""
    if kind == "texts":
        return [request_bytes("POST", "/embed/texts", json.dumps({"texts": [text]}).encode()) for text in captions(256)]
    forms = [multipart(content, "files") for content in photographs(64)]
    return [request_bytes("POST", "/embed/images", body, content_type) for body, content_type in forms]


def batches_of(metrics: str) -> tuple[float, float]:
    """Batches so far, and the items in them, from the text of `/metrics`: of our batcher, or of BentoML's."""
    count = items = 0.0
    for name, _, value in _SAMPLE.findall(metrics):
        if name.endswith(("crossmodal_batch_items_count", "adaptive_batch_size_count")):
            count += float(value)
        elif name.endswith(("crossmodal_batch_items_sum", "adaptive_batch_size_sum")):
            items += float(value)
    return count, items


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed; NaN of none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else float("nan")


async def lone_ms(url: str, requests: Sequence[bytes]) -> float:
    """Median milliseconds of a request that is alone."""
    client, outcome = Client(url), Outcome()
    for number in range(LONE):
        await client.ask(requests[number % len(requests)], outcome)
    await client.close()
    if len(outcome.latencies) < LONE:
        raise RuntimeError(f"not all answers were 200: {dict(outcome.statuses)}")
    return statistics.median(outcome.latencies) * 1000


async def measure(url: str, kind: str, clients: Sequence[int], seconds: float) -> Figures:
    """One round on one server: quiet first, then under load, then alone again at once."""
    requests, figures = requests_of(kind), Figures()
    figures[f"{kind}: lone, ms"] = await lone_ms(url, requests)
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for count in clients:
            before = batches_of((await http.get("/metrics")).text)
            outcome = await closed_loop(url, requests, clients=count, seconds=seconds)
            after = batches_of((await http.get("/metrics")).text)
            batches = after[0] - before[0]
            at = f"{kind}, {count} clients"
            figures[f"{at}: answers/s"] = outcome.goodput
            figures[f"{at}: p50, ms"] = percentile(outcome.latencies, 0.5) * 1000
            figures[f"{at}: p99, ms"] = percentile(outcome.latencies, 0.99) * 1000
            figures[f"{at}: items in a batch"] = (after[1] - before[1]) / batches if batches else float("nan")
            figures[f"{at}: not 200, %"] = (
                100 * (1 - outcome.statuses["200"] / total) if (total := outcome.statuses.total()) else float("nan")
            )
    figures[f"{kind}: lone after a burst, ms"] = await lone_ms(url, requests)
    return figures


def medians(rounds: Mapping[str, Sequence[Figures]]) -> dict[str, Figures]:
    """The median of each figure over the rounds, by way."""
    summed: dict[str, Figures] = {}
    for way, measured in rounds.items():
        values: dict[str, list[float]] = defaultdict(list)
        for figures in measured:
            for name, value in figures.items():
                values[name].append(value)
        summed[way] = {name: statistics.median(each) for name, each in values.items()}
    return summed


def table(found: Mapping[str, Figures]) -> str:
    """Figures by row and ways by column."""
    names = list(next(iter(found.values())))
    width = max(map(len, names))
    lines = [f"{'':{width}}" + "".join(f"{way:>18}" for way in found)]
    lines += [f"{name:{width}}" + "".join(f"{figures[name]:18.1f}" for figures in found.values()) for name in names]
    return "\n".join(lines)


def run(arguments: argparse.Namespace, model: str, folder: Path) -> dict[str, list[Figures]]:
    """All rounds, the servers in turns."""
    servers = {
        # Without the memory of embeddings, or the same few pictures and texts would measure it alone.
        way: Server(folder / way.replace(", ", "-"), MODEL=model, STORE="memory:", CACHE_BYTES="0", **settings)
        for way, settings in WAYS.items()
    }
    rounds: dict[str, list[Figures]] = {way: [] for way in servers}
    try:
        for server in servers.values():
            server.wait_until_ready()
        for number in range(arguments.rounds + 1):
            for way, server in servers.items():
                figures = Figures()
                for kind in arguments.kinds:
                    figures |= asyncio.run(measure(server.url, kind, arguments.clients, arguments.seconds))
                if number:  # the first one warms up
                    rounds[way].append(figures)
    finally:
        for server in servers.values():
            server.stop()
    return rounds


def main() -> None:
    """Measure, print the table and write everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="as CROSSMODAL_MODEL names it, or random")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--kinds", nargs="+", choices=["texts", "images"], default=["texts", "images"])
    arguments = parser.parse_args()
    end_as_if_interrupted()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(folder / "source") if arguments.model == "random" else arguments.model
        rounds = run(arguments, model, folder)
    found = medians(rounds)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"model {arguments.model}, {os.cpu_count()} cores, load {load}, {arguments.rounds} rounds")
    print(table(found))
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    kept: dict[str, Any] = {"arguments": vars(arguments), "medians": found, "rounds": rounds}
    (results / "batchers.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
