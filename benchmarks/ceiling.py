"""What this machine could do without a server: the same pictures and texts decoded and embedded in this process."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np

from benchmarks.contenders import KINDS
from crossmodal import imaging
from crossmodal.clip.base import ClipModel

T = TypeVar("T")

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
    with _embedding(model) as (embed_pictures, embed_texts):
        callers = sorted({1, model.info.calls})
        ways = {kind: [Way(size, each) for size in sizes for each in callers] for kind, sizes in BATCHES.items()}
        return {
            "image": _measured(embed_pictures, pictures, ways["image"], seconds),
            "text": _measured(embed_texts, sorted(texts, key=len), ways["text"], seconds),
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


@contextmanager
def _embedding(
    model: ClipModel,
) -> Iterator[tuple[Callable[[Sequence[bytes]], object], Callable[[Sequence[str]], object]]]:
    with ThreadPoolExecutor() as pool:

        def embed_pictures(batch: Sequence[bytes]) -> object:
            decoded = pool.map(lambda content: imaging.prepare(content, model.info.preprocessing).pixels, batch)
            return model.embed_pixels(np.stack([*decoded]))

        yield embed_pictures, model.embed_texts


def _measured(
    embed: Callable[[Sequence[T]], object], items: Sequence[T], ways: Sequence[Way], seconds: float
) -> Measured:
    rates = {way: _rate(embed, items, way, seconds) for way in ways}
    return Measured(rates, _lone(embed, items, seconds))


def _rate(embed: Callable[[Sequence[T]], object], items: Sequence[T], way: Way, seconds: float) -> float:
    batches = [items[start : start + way.batch] for start in range(0, len(items) - way.batch + 1, way.batch)]

    def call(number: int, seconds: float) -> float:
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            embed(batches[(number + done * way.callers) % len(batches)])
            done += 1
        return done * way.batch / spent

    with ThreadPoolExecutor(way.callers) as pool:
        # Warm for this shape, and for calls that meet.
        list(pool.map(call, range(way.callers), [seconds / 3] * way.callers))
        return sum(pool.map(call, range(way.callers), [seconds] * way.callers))


def _lone(embed: Callable[[Sequence[T]], object], items: Sequence[T], seconds: float) -> float:
    """Median milliseconds of one after the other."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        position = len(took) % len(items)
        embed(items[position : position + 1])
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)
