"""Embeddings of many texts and files of pictures, on the way they take in the service, with bounded memory."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from crossmodal.encoder import Lane
from crossmodal.errors import ClientError, CrossModalError, DeadlineExceeded, ValidationFailed
from crossmodal.records import Embedding, Embeddings
from crossmodal.wiring import Container

T = TypeVar("T")

CHUNK = 64
"""Pictures that go to the model together, while those of the next chunk are decoded."""
AT_ONCE = 2


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Embeddings of n items, one for each different content: ``vectors`` float32 [u, dim], of unit length.

    Item i has row ``places[i]``; -1 where it could not be read, and ``faults`` then says why. Equal items share a row, so
    that their scores are equal to the last bit. ``hashes`` [u] are the contents' SHA-256, empty for texts. ``truncated``
    counts the different texts of which the model saw only the beginning.
    """

    vectors: Embeddings
    places: list[int]
    faults: dict[int, CrossModalError]
    hashes: list[str]
    truncated: int = 0

    def readable(self) -> "Embedded":
        """The same without the items that could not be read."""
        return replace(self, places=[place for place in self.places if place >= 0], faults={})


async def embed_texts(container: Container, texts: Sequence[str]) -> Embedded:
    """Embed ``texts``, which the service would take. Raises the errors of the model."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    # Near in length together: a batch is as long as its longest text.
    order = sorted(rows, key=len)
    vectors: dict[str, Embedding] = {}
    truncated = 0
    with progress(len(order), " texts") as bar:
        for chunk in chunks(order, 4 * CHUNK):
            answer = await container.comparing.embed_texts(chunk, Lane.BULK)
            vectors |= zip(chunk, answer.embeddings, strict=True)
            truncated += int(answer.truncated.sum())
            bar.update(len(chunk))
    stacked = np.stack([vectors[text] for text in rows]) if rows else np.empty((0, 0), np.float32)
    return Embedded(stacked, [rows[text] for text in texts], {}, [], truncated)


class _Pictures:
    """Gathers pictures: a content is embedded by whoever meets it first."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._files = asyncio.Semaphore(2 * container.settings.decode_workers)  # whole files in memory at a time
        # The next chunk is decoded meanwhile, but not queued: a slow model would refuse what has to wait for too long.
        self._model = asyncio.Lock()
        self.rows: dict[str, int] = {}
        self.vectors: dict[int, Embedding] = {}
        self.places: dict[int, int] = {}
        self.faults: dict[int, CrossModalError] = {}

    async def chunk(self, numbered: Sequence[tuple[int, Path]]) -> None:
        """Read and embed these files."""
        preprocessing = (await self._container.encoder.info()).preprocessing
        fresh: list[tuple[int, NDArray[np.uint8]]] = []

        async def read(number: int, path: Path) -> None:
            async with self._files:
                try:
                    content = await asyncio.to_thread(read_file, path, self._container.settings.max_image_bytes)
                    picture = await self._container.pictures.read(content, preprocessing, hashed=True, lane=Lane.BULK)
                except (ClientError, DeadlineExceeded) as fault:
                    self.faults[number] = fault
                    return
            if picture.content_hash not in self.rows:
                self.rows[picture.content_hash] = len(self.rows)
                fresh.append((self.rows[picture.content_hash], picture.pixels))
            self.places[number] = self.rows[picture.content_hash]

        await asyncio.gather(*(read(number, path) for number, path in numbered))
        if fresh:
            async with self._model:
                embeddings = await self._container.encoder.embed_pixels(
                    np.stack([each for _, each in fresh]), Lane.BULK
                )
            self.vectors |= {row: vector for (row, _), vector in zip(fresh, embeddings, strict=True)}


async def embed_pictures(container: Container, files: Sequence[Path]) -> Embedded:
    """Embed the pictures in ``files``; one that cannot be read fails alone. Raises the errors of the model."""
    gathered = _Pictures(container)
    room = asyncio.Semaphore(AT_ONCE)
    with progress(len(files), " pictures") as bar:

        async def one(chunk: Sequence[tuple[int, Path]]) -> None:
            async with room:
                await gathered.chunk(chunk)
            bar.update(len(chunk))

        async with asyncio.TaskGroup() as group:
            for chunk in chunks(list(enumerate(files)), CHUNK):
                group.create_task(one(chunk))
    vectors = [gathered.vectors[row] for row in range(len(gathered.rows))]
    stacked = np.stack(vectors) if vectors else np.empty((0, 0), np.float32)
    places = [gathered.places.get(number, -1) for number in range(len(files))]
    return Embedded(stacked, places, gathered.faults, list(gathered.rows))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of ``size`` items, the last one with what is left."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a file, ``most`` and one at most: larger ones are refused by their size, not kept. Raises ``ValidationFailed``."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise ValidationFailed(f"the file cannot be read: {error.strerror}") from error


@contextmanager
def progress(total: int, unit: str) -> Iterator["tqdm[None]"]:
    """A bar on stderr, where that is a terminal."""
    with tqdm(total=total, unit=unit, file=sys.stderr, disable=None) as bar:
        yield bar
