"""What a quantized model loses: its embeddings against its source's, of pictures and texts it was not calibrated on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from crossmodal.errors import ConfigurationError
from crossmodal.records import Embeddings, Pixels, Preprocessing

__all__ = [
    "INT8_QUALITY", "LEAST_CAPTIONS", "LEAST_P1", "LEAST_SAMPLES", "MOST_SAMPLES", "Counts", "PoorQuality", "Quality", "Quantizing", "Recall",
    "Samples", "Spread", "kept_neighbours", "read_quality", "recall_at", "refuse_few", "spread_of", "write_quality",
]  # fmt: skip

INT8_QUALITY: Final = "openvino_int8_quality.json"
"""Where an export keeps the report."""

LEAST_P1: Final = 0.99
"""What the cosine to the source must reach in 99 of 100 pictures, and texts."""

LEAST_SAMPLES: Final = 64
"""Pictures, and texts, below which nothing is quantized: half of them calibrate, half of them judge."""

MOST_SAMPLES: Final = 300
"""Pictures, and texts, that calibrate, and as many more that judge, where nothing else is asked for."""

LEAST_CAPTIONS: Final = 20
"""Different captions of held-out pictures, below which recall says nothing."""

_NEAREST: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Pictures of the user as the model takes them, captions of some (else ""), and texts; all of them different."""

    pixels: Pixels
    captions: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Quantizing:
    """How to quantize: where samples come from, how many calibrate at most, whether any quality will do."""

    samples: Callable[[Preprocessing], Samples]
    most: int = MOST_SAMPLES
    accept: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of cosines, -1 to 1."""

    least: float
    p1: float
    p5: float
    p50: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Pictures and texts."""

    pictures: int
    texts: int


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of captions, 0 to 1, that find a picture of theirs among the first ``k``, by the source and quantized."""

    k: int
    source: float
    quantized: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Measured on ``held_out`` pictures and texts, against PyTorch in fp32.

    ``neighbours``: of the ten pictures that the source finds for a held-out text, the mean share that is found still.
    ``recall`` is that of captions of held-out pictures among these, empty where too few have one.
    """

    calibrated_on: Counts
    held_out: Counts
    pictures: Spread
    texts: Spread
    neighbours: float
    captions: int
    recall: tuple[Recall, ...]


class PoorQuality(ConfigurationError):
    """The quantized embeddings are too far from their source's; ``quality`` says how far."""

    def __init__(self, detail: str, quality: Quality) -> None:
        super().__init__(detail)
        self.quality = quality


def refuse_few(given: Counts) -> None:
    """Raise ConfigurationError for fewer samples than can calibrate and judge."""
    for what, count in (("pictures", given.pictures), ("texts", given.texts)):
        if count < LEAST_SAMPLES:
            raise ConfigurationError(
                f"int8 needs {LEAST_SAMPLES} different {what} that can be read, better {2 * MOST_SAMPLES}: half of them "
                f"calibrate, half of them judge; there are {count}."
            )


_QUALITY: Final = TypeAdapter(Quality)


def write_quality(path: Path, quality: Quality) -> None:
    """Write the report as JSON."""
    path.write_bytes(_QUALITY.dump_json(quality, indent=1) + b"\n")


def read_quality(path: Path) -> Quality:
    """Read it back. Raises ConfigurationError."""
    try:
        return _QUALITY.validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {type(error).__name__}.") from error


def spread_of(ours: Embeddings, source: Embeddings) -> Spread:
    """How the cosines of rows [n, dim] of unit length are spread; all -1 where a number is not finite."""
    cosines = np.einsum("nd,nd->n", ours, source) if np.isfinite(ours).all() else np.full(len(ours), -1.0)
    return Spread(*(round(float(each), 6) for each in (cosines.min(), *np.percentile(cosines, [1, 5, 50]))))


def kept_neighbours(before: tuple[Embeddings, Embeddings], after: tuple[Embeddings, Embeddings]) -> float:
    """Mean share of each query's ten nearest items that stay; queries [q, dim] and items [n, dim] before and after."""
    found, again = (_ranked(queries, items)[:, :_NEAREST] for queries, items in (before, after))
    shares = [len(np.intersect1d(one, other)) / len(one) for one, other in zip(found, again, strict=True)]
    return round(float(np.mean(shares)), 4)


def recall_at(
    before: tuple[Embeddings, Embeddings], after: tuple[Embeddings, Embeddings], owners: NDArray[np.integer]
) -> tuple[Recall, ...]:
    """Recall at 1, 5 and 10 of queries [q, dim] among items [n, dim]; item i belongs to query ``owners[i]``."""
    ranks = [_first_ranks(queries, items, owners) for queries, items in (before, after)]
    return tuple(Recall(k, *(round(float((each < k).mean()), 4) for each in ranks)) for k in (1, 5, _NEAREST))


def _first_ranks(queries: Embeddings, items: Embeddings, owners: NDArray[np.integer]) -> NDArray[np.integer]:
    """The place, from 0, of the first item of its own that each query finds."""
    return np.asarray((owners[_ranked(queries, items)] == np.arange(len(queries))[:, None]).argmax(axis=1))


def _ranked(queries: Embeddings, items: Embeddings) -> NDArray[np.integer]:
    return np.argsort(-(queries @ items.T), axis=1, kind="stable")
