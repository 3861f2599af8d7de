"""The port between the service and whatever runs a CLIP model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from crossmodal.records import Embeddings, Pixels, Preprocessing, Statistics

Runtime = Literal["torch", "openvino"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the rest of the service needs to know of a loaded model.

    ``fingerprint`` changes whenever embeddings of the two models could not be compared. ``logit_scale`` multiplies
    cosines in the model's own softmax; ``logit_bias`` is None for models without one. ``calibration`` holds
    how its cosines are spread and what they mean, where the model's folder says so in ``calibration.json``.

    ``calls`` is how many calls the model takes at a time: more than one where the host prepares the next while the device
    works, or where calls are computed ``side_by_side``. ``batch_images`` and ``batch_texts`` are the items from which a
    batch gains little on its device. ``runtime`` is what runs it.
    """

    name: str
    dim: int
    context_length: int
    preprocessing: Preprocessing
    fingerprint: str
    device: str
    precision: str
    logit_scale: float
    logit_bias: float | None
    calibration: Statistics = field(default_factory=dict)
    # How it computes is not what it computes: two models may be equal in all but these.
    calls: int = field(default=1, compare=False)
    side_by_side: bool = field(default=False, compare=False)
    batch_images: int = field(default=16, compare=False)
    batch_texts: int = field(default=32, compare=False)
    runtime: Runtime = field(default="torch", compare=False)


class TextEmbeddings(NamedTuple):
    """Embeddings of texts, and how much of each text the model saw.

    ``embeddings`` float32 [n, dim] of unit length; ``tokens`` int32 [n], the length of each text before it was cut, start
    and end included, a lower bound where ``truncated`` bool [n] says that the model saw only the beginning.
    """

    embeddings: Embeddings
    tokens: NDArray[np.int32]
    truncated: NDArray[np.bool_]


class ClipModel(Protocol):
    """A loaded model. Its methods block for milliseconds to seconds and are called from ``info.calls`` threads at a time.

    They raise ``ModelUnavailable`` if the device is lost, which only another process can have back.
    """

    info: ModelInfo

    def embed_pixels(self, pixels: Pixels) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length, n >= 1."""

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embed n >= 1 texts; any string is accepted, special tokens in it are plain characters."""
