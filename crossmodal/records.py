"""What travels between the rooms: items, hits and the shapes of arrays."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""uint8 [n, size, size, 3], RGB, 0 to 255, resized and cropped to the model's input size."""

Embeddings = NDArray[np.float32]
"""float32 [n, dim], each row of unit Euclidean length."""

Embedding = NDArray[np.float32]
"""float32 [dim], unit Euclidean length."""

Scalar = str | int | float | bool
MetadataValue = Scalar | list[Scalar] | None
Metadata = Mapping[str, MetadataValue]
"""A flat JSON object: scalars, lists of scalars, or null."""


class Modality(StrEnum):
    """What an item is; there is one collection per modality."""

    IMAGE = "image"
    TEXT = "text"


class DecoderLoss(StrEnum):
    """Why a decoding process was lost; stable, for `crossmodal_lost_decoders_total` shows it."""

    DEADLINE = "deadline"
    """The picture took too long."""
    CRASH = "crash"
    """It died of a picture."""
    KILLED = "killed"
    """Somebody else ended it: the kernel, where memory is short."""
    FAULT = "fault"
    """The fault was the program's."""


LongText = Literal["truncate", "split"]
"""What becomes of a text over the model's context: ``truncate`` reads its beginning, ``split`` all of it, in pieces."""

DEFAULT_TENANT = "default"
"""The tenant of everybody while no keys are configured."""

_TENANT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_tenant_name(name: str) -> bool:
    """Whether ``name`` may be a tenant's: 1 to 64 of a-z, 0-9, _ and -, the first a letter or a digit."""
    return _TENANT_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Partition:
    """One tenant's part of the collection of a modality: what every use of a store names, so that none can miss it."""

    tenant: str
    modality: Modality


@dataclass(frozen=True, slots=True)
class Item:
    """Something indexed. ``content_hash`` is the SHA-256 of its bytes, in hex, and finds its media.

    ``long_text`` is how its text was embedded.
    ``signature`` says what a picture looks like (``crossmodal.imaging.signature``); it is empty for texts and for pictures
    that were indexed before there were any.
    """

    id: str
    modality: Modality
    content_hash: str
    created_at: datetime
    metadata: Metadata = field(default_factory=dict)
    text: str | None = None
    long_text: LongText = "truncate"
    signature: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """An item with its embedding: what a store keeps."""

    item: Item
    embedding: Embedding


@dataclass(frozen=True, slots=True, eq=False)
class ScoredItem:
    """An item found, with the raw cosine (-1 to 1) of its embedding and the query's."""

    item: Item
    score: float
    embedding: Embedding | None = None


@dataclass(frozen=True, slots=True)
class Contribution:
    """What part ``part`` (counted from 0) of a query has to do with a hit.

    ``score`` is the cosine of the two, ``share`` what it adds to the hit's evidence, in standard deviations of what
    unrelated items would score: the shares add up to the evidence. Of a negative part it is at most 0.
    """

    part: int
    score: float
    share: float


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer to a query: ``score`` is the raw cosine, ``relevance`` the calibrated 0 to 1 made from it.

    ``contributions`` are there when they were asked for.
    """

    item: Item
    score: float
    relevance: float
    weak_match: bool
    contributions: tuple[Contribution, ...] = ()


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """How a model's cosines between a query and an item of two modalities are spread, and what they mean.

    ``midpoint`` is the cosine at which a match is as likely as not, ``slope`` (above 0) the steepness there, per unit of
    cosine; ``mean`` and ``std`` (above 0) are of cosines between a query and items that have nothing to do with it.
    """

    midpoint: float
    slope: float
    mean: float
    std: float


PairName = Literal["text-image", "image-text", "image-image", "text-text"]
"""Modality of the query, then of the item."""

Statistics = Mapping[PairName, PairStatistics]
"""By pair; pairs that were not measured are missing."""


Profile = Literal["standard", "reference", "fast"]
"""How a file becomes pixels: ``standard`` as a viewer shows it, ``reference`` as OpenCLIP's own transform makes it, ``fast``
as a viewer shows it with less work, the pixels slightly others."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes the model's input: the fields of OpenCLIP's preprocess configuration that change pixels.

    ``size`` is the side of the square in pixels; ``mean`` and ``std`` are per channel on the 0 to 1 scale.
    """

    size: int
    interpolation: Literal["bicubic", "bilinear"]
    resize_mode: Literal["shortest", "longest", "squash"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill_color: int = 0
    profile: Profile = "standard"


def hash_content(content: bytes) -> str:
    """SHA-256 of ``content`` as 64 lower-case hex digits: the identity of the same bytes."""
    return sha256(content).hexdigest()
