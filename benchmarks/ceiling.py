"""What this machine could do without a server: the same pictures and texts decoded and embedded in this process."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contenders import KINDS
from crossmodal import imaging
from crossmodal.clip.base import ClipModel

BATCHES = {"image": (8, 16, 32), "text": (32, 64)}


class Way(NamedTuple):
    """How they are embedded: so many in a batch, by so many callers at a time."""

    batch: int
    callers: int


class Ceiling(NamedTuple):
    """``rate`` a second, the ``way`` that reached it, and the milliseconds of a lone one."""

    rate: float
    way: Way
    lone: float


class Measured(NamedTuple):
    """Of one kind in one round: what each way reached, a second, and the milliseconds of a lone one."""

    rates: Mapping[Way, float]
    lone: float


def ceilings(model: ClipModel, pictures: Sequence[bytes], texts: Sequence[str], seconds: float) -> dict[str, Measured]:
    """Pictures and texts a second in this process in each way, and how long a lone one takes.

    The ways are the sizes of ``BATCHES``, from one caller and from as many as the model takes calls. Pictures are decoded
    by a thread for each core before the model gets their batch. Texts are in the order of their length, so that none is
    padded more than it must be.
    """
    callers = sorted({1, model.info.calls})
    ways = {kind: [Way(size, each) for size in sizes for each in callers] for kind, sizes in BATCHES.items()}
    with Embedding(model, pictures, texts) as embedding:
        return {
            kind: Measured(
                {way: embedding.rate(kind, way, seconds) for way in ways[kind]}, embedding.lone(kind, seconds)
            )
            for kind in KINDS
        }


def best(rounds: Sequence[Mapping[str, Measured]]) -> dict[str, Ceiling]:
    """By kind, the way whose median over the rounds is the highest.

    Not the median of each round's best one: where the machine is twice as fast in one second as in the next, the best of several
    is the one that was lucky.
    """
    found = {}
    for kind in KINDS:
        each = [measured[kind] for measured in rounds]
        rates = {way: statistics.median(measured.rates[way] for measured in each) for way in each[0].rates}
        way = max(rates, key=lambda way: rates[way])
        found[kind] = Ceiling(rates[way], way, statistics.median(measured.lone for measured in each))
    return found


class Embedding(AbstractContextManager["Embedding"]):
    """The pictures and texts of a run, and the model in this process that they go through."""

    def __init__(self, model: ClipModel, pictures: Sequence[bytes], texts: Sequence[str]) -> None:
        self._decoding = ThreadPoolExecutor()
        self._model = model
        self._items: dict[str, Sequence[Any]] = {"image": pictures, "text": sorted(texts, key=len)}
        self._embed: dict[str, Callable[[Sequence[Any]], object]] = {"image": self._pictures, "text": model.embed_texts}

    def __exit__(self, *_: object) -> None:
        self._decoding.shutdown()

    def rate(self, kind: str, way: Way, seconds: float) -> float:
        """Items a second; a third of ``seconds`` goes before, for what is made at the first call of a shape, or of two at a time."""
        items, size = self._items[kind], way.batch
        batches = [items[start : start + size] for start in range(0, len(items) - size + 1, size)]

        def call(number: int, seconds: float) -> float:
            done, began = 0, time.perf_counter()
            while (spent := time.perf_counter() - began) < seconds:
                self._embed[kind](batches[(number + done * way.callers) % len(batches)])
                done += 1
            return done * size / spent

        with ThreadPoolExecutor(way.callers) as pool:
            list(pool.map(call, range(way.callers), [seconds / 3] * way.callers))
            return sum(pool.map(call, range(way.callers), [seconds] * way.callers))

    def lone(self, kind: str, seconds: float) -> float:
        """Median milliseconds of one after the other."""
        items, took = self._items[kind], list[float]()
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            position = len(took) % len(items)
            self._embed[kind](items[position : position + 1])
            took.append(1000 * (time.perf_counter() - began))
        return statistics.median(took)

    def _pictures(self, batch: Sequence[bytes]) -> object:
        preprocessing = self._model.info.preprocessing
        decoded = self._decoding.map(lambda content: imaging.prepare(content, preprocessing).pixels, batch)
        return self._model.embed_pixels(np.stack([*decoded]))
