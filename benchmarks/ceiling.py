"""What this machine could do without a server: the same pictures and texts decoded and embedded in this process."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from crossmodal import imaging
from crossmodal.clip.base import ClipModel

T = TypeVar("T")

BATCHES = {"image": (8, 16, 32), "text": (32, 64)}


def ceilings(
    model: ClipModel, pictures: Sequence[bytes], texts: Sequence[str], seconds: float
) -> dict[str, tuple[float, int]]:
    """Pictures and texts a second in this process, and at which size of batches: the best of ``BATCHES``.

    One caller, and as many as the model takes calls: the better of the two. Pictures are decoded by a thread for each core
    before the model gets their batch. Texts are in the order of their length, so that none is padded more than it must be.
    """
    ordered = sorted(texts, key=len)
    with ThreadPoolExecutor() as pool:

        def embed_pictures(batch: Sequence[bytes]) -> object:
            decoded = pool.map(lambda content: imaging.prepare(content, model.info.preprocessing).pixels, batch)
            return model.embed_pixels(np.stack([*decoded]))

        def best(embed: Callable[[Sequence[T]], object], items: Sequence[T], kind: str) -> tuple[float, int]:
            callers = sorted({1, model.info.calls})
            return max((_rate(embed, items, size, seconds, each), size) for size in BATCHES[kind] for each in callers)

        return {"image": best(embed_pictures, pictures, "image"), "text": best(model.embed_texts, ordered, "text")}


def _rate(embed: Callable[[Sequence[T]], object], items: Sequence[T], size: int, seconds: float, callers: int) -> float:
    batches = [items[start : start + size] for start in range(0, len(items) - size + 1, size)]

    def call(number: int, seconds: float) -> float:
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            embed(batches[(number + done * callers) % len(batches)])
            done += 1
        return done * size / spent

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, range(callers), [seconds / 3] * callers))  # warm for this shape, and for calls that meet
        return sum(pool.map(call, range(callers), [seconds] * callers))
