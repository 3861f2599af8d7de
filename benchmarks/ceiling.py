"""What this machine could do without a server: the same pictures and texts decoded and embedded in this process."""

import time
from collections.abc import Callable, Iterable, Sequence
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

    Pictures are decoded by a thread for each core before the model, which uses all cores, gets the batch. Texts are in
    the order of their length, so that none is padded more than it must be.
    """
    ordered = sorted(texts, key=len)
    with ThreadPoolExecutor() as pool:

        def embed_pictures(batch: Sequence[bytes]) -> object:
            decoded = pool.map(lambda content: imaging.prepare(content, model.info.preprocessing).pixels, batch)
            return model.embed_pixels(np.stack([*decoded]))

        return {
            "image": _best(embed_pictures, pictures, BATCHES["image"], seconds),
            "text": _best(model.embed_texts, ordered, BATCHES["text"], seconds),
        }


def _best(
    embed: Callable[[Sequence[T]], object], items: Sequence[T], sizes: Iterable[int], seconds: float
) -> tuple[float, int]:
    return max((_rate(embed, items, size, seconds), size) for size in sizes)


def _rate(embed: Callable[[Sequence[T]], object], items: Sequence[T], size: int, seconds: float) -> float:
    batches = [items[start : start + size] for start in range(0, len(items) - size + 1, size)]
    embed(batches[0])  # warm for this shape
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        embed(batches[done % len(batches)])
        done += 1
    return done * size / spent
