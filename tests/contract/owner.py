"""A process that owns an embedded store: it upserts item after item and prints the id of each one acknowledged."""

import asyncio
import sys

from crossmodal.store.edge import EdgeStore
from tests.contract.material import IMAGES, SPEC, points


async def own(folder: str) -> None:
    store = EdgeStore(folder)
    await store.open(SPEC)
    for entry in points(10_000):
        await store.upsert(IMAGES, [entry])
        sys.stdout.write(f"{entry.item.id}\n")
        sys.stdout.flush()


asyncio.run(own(sys.argv[1]))
