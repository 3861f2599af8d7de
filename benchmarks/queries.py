"""What a query costs beyond embedding it: `python -m benchmarks.queries [repeated] [zipf] [vectors]`, default all.

- repeated: a text that was asked before, against a route that does nothing;
- zipf: queries as people ask them, few of them often and most seldom, with and without the memory of embeddings;
- vectors: text to image on 100,000 vectors: what the search adds to the embedding, against the engine's call alone.

ViT-B-32 with random weights, exported; the sample gallery, or vectors drawn at random. Things that are compared take turns.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import qdrant_edge as engine

from benchmarks.contenders import Contender, ours
from benchmarks.driving import Driver, Load, percentiles
from benchmarks.inputs import captions, random_model
from crossmodal.clip.exporting import export_model
from crossmodal.clip.loading import load_model
from crossmodal.records import DEFAULT_TENANT, Embeddings, Item, Modality, Partition, Point, hash_content
from crossmodal.store.base import CollectionSpec
from crossmodal.store.edge import EdgeStore
from tools.load import request_bytes
from tools.servers import ROOT, end_as_if_interrupted

VECTORS = 100_000
ROUNDS = 4
LONE_SECONDS = 2.0
CROWD_SECONDS = 5.0
CLIENTS = 32
QUERIES = 10_000
"""Different ones that people might ask; the n-th of them is asked in proportion to 1/n, as Zipf's law has it."""
ASKED = 20_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def search(text: str) -> bytes:
    """A search for pictures."""
    return request_bytes("POST", "/search/text-to-image", json.dumps({"query": text, "n_results": 10}).encode())


def embed(text: str) -> bytes:
    """The same text, only embedded."""
    return request_bytes("POST", "/embed/texts", json.dumps({"texts": [text]}).encode())


def show(what: str, **figures: object) -> None:
    """One line of JSON."""
    print(json.dumps({"what": what, **figures}), flush=True)


def repeated(driver: Driver, folder: Path, export: Path) -> None:
    """A text that was asked before, against `/livez`."""
    contender = _serve(folder / "repeated", export, SAMPLES=str(ROOT / "samples"), CACHE_BYTES=str(2**26))
    asked = {
        "nothing": [request_bytes("GET", "/livez")],
        "embed again": [embed("two dogs on a red sofa")],
        "search again": [search("two dogs on a red sofa")],
    }
    times: dict[str, list[float]] = {name: [] for name in asked}
    try:
        for _ in range(ROUNDS):
            for name, requests in asked.items():
                times[name].append(driver.drive(contender, requests, Load(LONE_SECONDS)).p50)
    finally:
        contender.server.stop()
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in medians.items():
        show("repeated", route=name, p50_ms=round(found, 2), of_nothing=round(found / medians["nothing"], 2))


def zipf(driver: Driver, folder: Path, export: Path) -> None:
    """Many people's queries, with the memory of embeddings and without."""
    ranks = np.random.default_rng(2).choice(QUERIES, ASKED, p=_shares(QUERIES))
    texts = captions(QUERIES)
    requests = [search(texts[rank]) for rank in ranks]
    contenders = {
        name: _serve(folder / f"zipf-{name}", export, SAMPLES=str(ROOT / "samples"), CACHE_BYTES=size)
        for name, size in (("without", "0"), ("with", str(2**26)))
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    p50s: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        at = 0
        for _ in range(ROUNDS):
            fresh = requests[at:] + requests[:at]  # goes on where the last round may have ended
            for name, contender in contenders.items():
                figures = driver.drive(contender, fresh, Load(CROWD_SECONDS, clients=CLIENTS))
                rates[name].append(figures.rate)
                p50s[name].append(figures.p50)
            at += ASKED // ROUNDS
        hits = _hit_rate(contenders["with"].server.url)
    finally:
        for contender in contenders.values():
            contender.server.stop()
    for name, found in rates.items():
        rate, p50 = statistics.median(found), statistics.median(p50s[name])
        show("zipf", memory=name, queries_per_second=round(rate, 1), p50_ms=round(p50, 1))
    gain = statistics.median(one / other for one, other in zip(rates["with"], rates["without"], strict=True))
    show("zipf", gain=round(gain, 2), found_in_memory=round(hits, 3))


def vectors(driver: Driver, folder: Path, export: Path) -> None:
    """What a search adds to the embedding of its query, on many vectors."""
    store = folder / "store"
    model = load_model(f"local-dir:{export}", runtime="openvino")
    rows = _drawn(model.info.dim)
    asyncio.run(_fill(store, CollectionSpec(model.info.dim, model.info.fingerprint), rows))
    shutil.copytree(store / "images", folder / "raw")
    shard = engine.EdgeShard.load(str(folder / "raw"))
    contender = _serve(folder / "vectors", export, STORE=f"edge:{store}")
    texts = captions(512)
    added, raw = [], []
    try:
        for _ in range(ROUNDS):
            searched = driver.drive(contender, [search(text) for text in texts], Load(LONE_SECONDS))
            embedded = driver.drive(contender, [embed(text) for text in texts], Load(LONE_SECONDS))
            added.append(searched.p50 - embedded.p50)
            raw.append(_median_ms(lambda query: shard.query(_request(query)), rows))
    finally:
        contender.server.stop()
        shard.close()
    ratio = statistics.median(ours / theirs for ours, theirs in zip(added, raw, strict=True))
    show(
        "vectors", count=VECTORS, dim=model.info.dim, search_less_embed_ms=round(statistics.median(added), 2),
        engine_ms=round(statistics.median(raw), 2), ratio=round(ratio, 2),
    )  # fmt: skip


def _serve(folder: Path, export: Path, **settings: str) -> Contender:
    contender = ours(folder.name, folder, MODEL=f"local-dir:{export}", **settings)
    try:
        contender.server.wait_until_ready()
    except BaseException:
        contender.server.stop()
        raise
    return contender


def _shares(count: int) -> np.ndarray:
    weights = 1 / np.arange(1, count + 1)
    shares: np.ndarray = weights / weights.sum()
    return shares


def _hit_rate(url: str) -> float:
    """Of the texts that were looked up, the share that was found."""
    found = {"hit": 0.0, "miss": 0.0}
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        for outcome in found:
            if line.startswith("crossmodal_cache_lookups_total{") and f'"{outcome}"' in line and '"text"' in line:
                found[outcome] += float(line.rpartition(" ")[2])
    return found["hit"] / max(1.0, sum(found.values()))


def _drawn(dim: int) -> Embeddings:
    rows = np.random.default_rng(3).standard_normal((VECTORS, dim), dtype=np.float32)
    unit: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


async def _fill(folder: Path, spec: CollectionSpec, rows: Embeddings) -> None:
    store = EdgeStore(folder)
    await store.open(spec)
    partition = Partition(DEFAULT_TENANT, Modality.IMAGE)
    for start in range(0, len(rows), 2000):
        points = []
        for number in range(start, start + len(rows[start : start + 2000])):
            name = f"{number:07}"
            item = Item(name, Modality.IMAGE, hash_content(name.encode()), NOON, metadata={"number": number})
            points.append(Point(item, rows[number]))
        await store.upsert(partition, points)
    await store.close()


def _request(query: np.ndarray) -> engine.QueryRequest:
    return engine.QueryRequest(
        limit=10,
        query=engine.Query.Nearest(query.tolist()),
        params=engine.SearchParams(exact=True),
        with_payload=True,
        with_vector=False,
    )


def _median_ms(call: Callable[[np.ndarray], object], rows: Embeddings) -> float:
    times = []
    for row in rows[:100]:
        began = time.perf_counter()
        call(row)
        times.append(time.perf_counter() - began)
    return percentiles(times)[0]


def main() -> None:
    """Measure what is asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"repeated": repeated, "zipf": zipf, "vectors": vectors}
    parser.add_argument("what", nargs="*", choices=[*parts, []], default=[])
    wanted = parser.parse_args().what or [*parts]
    end_as_if_interrupted()
    with tempfile.TemporaryDirectory() as name, Driver() as driver:
        folder = Path(name)
        source = random_model(folder / "source")
        export = export_model(source, out=folder / "export", exports=folder)
        for each in wanted:
            parts[each](driver, folder, export)


if __name__ == "__main__":
    main()
