"""What a search for duplicates costs: `python -m benchmarks.duplicates [--items 10000 100000] [--dim 512]`.

An embedded store is filled with unit vectors about a few hundred centres and signatures of as many drawn pictures; one in
twenty items is a copy of another. Printed for each number of items: seconds to read the partition, seconds in all, how
many plain searches that is (median of some, on the same store), what share of the planted pairs was found, the memory the
process grew by, and the median and the worst of searches that ran meanwhile. docs/adr/0015 has the figures.
"""

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from crossmodal.clip.base import ModelInfo
from crossmodal.encoder import Encoder
from crossmodal.imaging import make_signature
from crossmodal.records import DEFAULT_TENANT, Embeddings, Item, Modality, Partition, Point, Preprocessing, hash_content
from crossmodal.search.duplicates import Duplicates, Linkage, Wanted
from crossmodal.search.relevance import Calibrations
from crossmodal.store.base import CollectionSpec
from crossmodal.store.edge import EdgeStore

PARTITION = Partition(DEFAULT_TENANT, Modality.IMAGE)
CENTRES = 400
COPIES_EVERY = 20
PIECE = 2000
SEARCHES = 20
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOOKS = 5000
"""Pictures that are drawn; more items than that share their looks less one coefficient, so that none is a copy."""


class NoEncoder:
    """Knows what a model is called; a search for duplicates embeds nothing."""

    def __init__(self, dim: int) -> None:
        preprocessing = Preprocessing(224, "bicubic", "shortest", (0.5,) * 3, (0.5,) * 3)
        self._info = ModelInfo("none", dim, 77, preprocessing, "none", "cpu", "fp32", 100.0, None)

    async def info(self) -> ModelInfo:
        """The model's description."""
        return self._info


def vectors(count: int, dim: int, random: np.random.Generator) -> Embeddings:
    """Unit vectors about ``CENTRES`` directions that lean one way, as CLIP's do: cosines of 0.3 to 0.8."""
    centres = random.standard_normal((CENTRES, dim)) + random.standard_normal(dim)
    rows = centres[random.integers(CENTRES, size=count)] + random.standard_normal((count, dim))
    rows[::COPIES_EVERY] = rows[1::COPIES_EVERY] + 0.2 * random.standard_normal((len(rows[::COPIES_EVERY]), dim))
    unit: Embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def signatures(count: int, random: np.random.Generator) -> list[bytes]:
    """A look for each item, of smoothed noise; a copy's is that of what follows it."""
    drawn = []
    for _ in range(min(count, LOOKS)):
        small = Image.fromarray(random.integers(0, 255, (24, 24, 3), dtype=np.uint8))
        drawn.append(make_signature(small.resize((96, 96), Image.Resampling.BICUBIC)))
    looks: list[bytes] = []
    for number in range(count):
        own = bytearray(drawn[number % len(drawn)])
        if number >= len(drawn):
            own[8:535] = random.integers(0, 256, 527, dtype=np.uint8).tobytes()
        looks.append(bytes(own))
    looks[::COPIES_EVERY] = looks[1::COPIES_EVERY]
    return looks


async def fill(store: EdgeStore, rows: Embeddings, looks: list[bytes]) -> None:
    """Write everything."""
    for begin in range(0, len(rows), PIECE):
        points = []
        for number in range(begin, min(begin + PIECE, len(rows))):
            item_id = f"{number:07}"
            digest = hash_content(item_id.encode())
            points.append(Point(Item(item_id, Modality.IMAGE, digest, NOON, signature=looks[number]), rows[number]))
        await store.upsert(PARTITION, points)


async def searches(store: EdgeStore, rows: Embeddings, until: asyncio.Event | None = None) -> list[float]:
    """Milliseconds of single searches, ``SEARCHES`` of them or until something has happened."""
    times: list[float] = []
    while not until.is_set() if until else len(times) < SEARCHES:
        began = time.perf_counter()
        await store.search(PARTITION, rows[len(times) * 7 % len(rows)], limit=10)
        times.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.05 if until else 0)
    return times


async def measure(count: int, dim: int) -> None:
    """Print a line of figures."""
    random = np.random.default_rng(1)
    rows, looks = vectors(count, dim, random), signatures(count, random)
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "store", min_free=0)
        await store.open(CollectionSpec(dim, "none"))
        await fill(store, rows, looks)
        alone = await searches(store, rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        use_case = Duplicates(Calibrations(cast(Encoder, NoEncoder(dim)), store), store, max_items=count)
        began, done = time.perf_counter(), asyncio.Event()
        meanwhile = asyncio.create_task(searches(store, rows, done))
        found = await use_case.find(DEFAULT_TENANT, Wanted(linkage=Linkage.COMPLETE, limit=count))
        seconds = time.perf_counter() - began
        done.set()
        beside = await meanwhile
        began, cursor = time.perf_counter(), None
        while True:
            page = await store.scroll(PARTITION, limit=256, cursor=cursor, with_embeddings=True)
            if (cursor := page.next_cursor) is None:
                break
        reading = time.perf_counter() - began
        await store.close()
    planted = {(f"{number:07}", f"{number + 1:07}") for number in range(0, count - 1, COPIES_EVERY)}
    pairs = {tuple(group.ids) for group in found.groups}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    lone = statistics.median(alone)
    print(
        f"{count:7} items of {dim}: read in {reading:.1f} s, all in {seconds:.1f} s = {seconds * 1000 / lone:.0f} searches of "
        f"{lone:.1f} ms; {len(planted & pairs) / len(planted):.3f} of {len(planted)} copies found, truncated "
        f"{found.truncated}; memory grew by {grown:.0f} MB; searches meanwhile {statistics.median(beside):.1f} ms, worst "
        f"{max(beside):.0f} ms",
        flush=True,
    )


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=512)
    arguments = parser.parse_args()
    for count in arguments.items:
        asyncio.run(measure(count, arguments.dim))


if __name__ == "__main__":
    main()
