"""What searches that weigh many candidates cost: `python -m benchmarks.composed [--items 1000 20000] [--dim 512] [--rounds 3]`.

An embedded store is filled with random unit vectors, pictures and texts in equal number. Each kind of search takes turns with the others; printed are
the medians of the rounds, wall and CPU time in ms, and how many times the CPU time of a plain search that is.
docs/adr/0027 has figures.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.duplicates import NoEncoder, vectors
from crossmodal.records import DEFAULT_TENANT, Embeddings, Item, Modality, Partition, Point, hash_content
from crossmodal.search.finding import ANY, Finder, Window
from crossmodal.search.fusion import Part
from crossmodal.search.relevance import Calibrations
from crossmodal.store.base import CollectionSpec
from crossmodal.store.edge import EdgeStore

PIECE = 500
SEARCHES = 20
"""Of each kind, in each round."""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

Kind = tuple[list[Part], tuple[Modality, ...], Window]


def kinds_of(queries: Embeddings) -> dict[str, Kind]:
    """The searches that are compared; the first is what the others are measured by."""
    image, text = Modality.IMAGE, Modality.TEXT
    wanted, unwanted, other = Part(queries[0], text), Part(queries[1], text, -1), Part(queries[2], image, -0.5)
    return {
        "plain": ([wanted], (image,), Window()),
        "any modality": ([wanted], ANY, Window()),
        "any modality, from hit 900 on": ([wanted], ANY, Window(offset=900)),
        "one part unwanted": ([wanted, unwanted], (image,), Window()),
        "the same, explained": ([wanted, unwanted], (image,), Window(explain=True)),
        "two unwanted, any modality": ([wanted, unwanted, other], ANY, Window()),
        "diversity": ([wanted], (image,), Window(diversity=0.5)),
    }


async def fill(store: EdgeStore, items: int, rows: Embeddings) -> None:
    """``items`` of each modality, with metadata as a shop has it."""
    for modality in Modality:
        partition = Partition(DEFAULT_TENANT, modality)
        for start in range(0, items, PIECE):
            points = [
                Point(
                    Item(
                        f"article-{place}",
                        modality,
                        hash_content(f"{modality}{place}".encode()),
                        NOON,
                        {"title": f"article number {place}", "price": place / 7, "tags": ["new", "blue"]},
                        f"text {place}" if modality is Modality.TEXT else None,
                        signature=bytes(200) if modality is Modality.IMAGE else b"",
                    ),
                    rows[place],
                )
                for place in range(start, min(items, start + PIECE))
            ]
            await store.upsert(partition, points)


async def measure(items: int, dim: int, rounds: int) -> None:
    """Print the table of a collection of this size."""
    rows = vectors(items + 3, dim, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "store", min_free=0)
        await store.open(CollectionSpec(dim, "benchmark"))
        await fill(store, items, rows)
        finder = Finder(store, Calibrations(NoEncoder(dim), store))  # type: ignore[arg-type]
        kinds = kinds_of(rows[items:])
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, (parts, targets, window) in kinds.items():
                await finder.find(DEFAULT_TENANT, parts, targets, window)
                wall, cpu = time.perf_counter(), time.process_time()
                for _ in range(SEARCHES):
                    await finder.find(DEFAULT_TENANT, parts, targets, window)
                spent = time.perf_counter() - wall, time.process_time() - cpu
                times[name].append((spent[0] / SEARCHES * 1e3, spent[1] / SEARCHES * 1e3))
        await store.close()
    print(
        f"\n{items} items of each modality, {dim} dimensions\n| search | ms | CPU ms | times plain |\n|---|---|---|---|"
    )
    medians = {
        name: [statistics.median(column) for column in zip(*pairs, strict=True)] for name, pairs in times.items()
    }
    for name, (wall, cpu) in medians.items():
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {cpu / medians['plain'][1]:.1f} |", flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[0])
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    for items in asked.items:
        asyncio.run(measure(items, asked.dim, asked.rounds))


if __name__ == "__main__":
    main()
