"""Chunks of sources through the use case: while one chunk is embedded the next is decoded."""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from tqdm import tqdm

from crossmodal.search.indexing import Indexed, Status, Submission
from indexer.sources import Source

CHUNK = 64
"""Sources that are read, embedded and acknowledged together."""
AT_ONCE = 2

Index = Callable[[Sequence[Submission]], Awaitable[list[Indexed]]]


async def index_sources(
    index: Index, sources: Sequence[Source], *, unit: str, progress: bool = True
) -> Counter[Status]:
    """Index all, with a bar on stderr; each failure is a line on stderr. Returns how many had which outcome."""
    outcomes: Counter[Status] = Counter()
    room = asyncio.Semaphore(AT_ONCE)
    with tqdm(total=len(sources), unit=unit, file=sys.stderr, disable=None if progress else True) as bar:

        async def one(chunk: Sequence[Source]) -> None:
            async with room:
                submissions = await asyncio.to_thread(lambda: [source.load() for source in chunk])
                results = await index(submissions)
            for source, result in zip(chunk, results, strict=True):
                outcomes[result.status] += 1
                if result.error is not None:
                    bar.write(f"failed: {source.name}: {result.error.detail}", file=sys.stderr)
            bar.update(len(chunk))

        async with asyncio.TaskGroup() as group:
            for start in range(0, len(sources), CHUNK):
                group.create_task(one(sources[start : start + CHUNK]))
    return outcomes
