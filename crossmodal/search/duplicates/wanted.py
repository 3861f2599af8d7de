"""What is asked of a search for duplicates, and what it answers."""

from dataclasses import dataclass
from enum import StrEnum

from crossmodal.records import Modality
from crossmodal.store.filters import Filter


class Evidence(StrEnum):
    """Why two items count as the same."""

    EXACT = "exact"
    PERCEPTUAL = "perceptual"
    EMBEDDING = "embedding"


class Method(StrEnum):
    """Which evidence counts: one kind, or all by the rule of ``Duplicates``."""

    ALL = "all"
    EXACT = "exact"
    PERCEPTUAL = "perceptual"
    EMBEDDING = "embedding"


class Linkage(StrEnum):
    """Whether each two of a group must be the same, or a chain of such pairs is enough."""

    COMPLETE = "complete"
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items are compared, how, and how many groups (at least 1) are answered.

    ``threshold`` is the least score of a pair: a correlation of looks for ``Method.PERCEPTUAL``, else a cosine, -1 to 1.
    Without it the method's own rule holds.
    """

    modality: Modality = Modality.IMAGE
    method: Method = Method.ALL
    linkage: Linkage = Linkage.COMPLETE
    threshold: float | None = None
    where: Filter | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Group:
    """Items that are the same: two or more ids, rising; the greatest and the least score of two of them; the evidence."""

    ids: list[str]
    max_score: float
    min_score: float
    kinds: list[Evidence]


@dataclass(frozen=True, slots=True)
class Found:
    """Groups, greatest score first, then by ids. ``examined`` items were compared.

    ``truncated``: not everything was looked at or told: more items, pairs or groups than the limits of each.
    """

    groups: list[Group]
    examined: int
    truncated: bool
