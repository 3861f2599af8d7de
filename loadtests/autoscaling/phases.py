"""The course of a run: how many requests come, phase by phase, and what is done to the encoders meanwhile."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from loadtests.open_arrivals import schedule
from loadtests.traffic import Asked, Kind, Mix, Traffic

MIX: Mix = {Kind.EMBED_TEXTS: 80, Kind.SEARCH_TEXT: 10, Kind.SEARCH_IMAGE: 10}
"""Mostly calls of many texts, whose items fill an encoder at few requests a second: API and load take few of the cores."""
DEFAULT = "1x20 4x45 1x70 3x15 3x60:update 3x20:kill"
MOST_PHASES = 20
MOST_FACTOR = 100.0
MOST_SECONDS = 3600.0


class Deed(StrEnum):
    """What is done when a phase begins."""

    NOTHING = ""
    UPDATE = "update"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Phase:
    """``factor`` times the nominal rate for ``seconds``, from when ``deed`` is done."""

    factor: float
    seconds: float
    deed: Deed = Deed.NOTHING

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read FACTORxSECONDS or FACTORxSECONDS:DEED. Raises ``ValueError``."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)(?::(update|kill))?", text, re.ASCII)
        if found is None:
            raise ValueError(f"{text!r} is no phase: FACTORxSECONDS, or with :update or :kill behind it")
        factor, seconds = float(found[1]), float(found[2])
        if not (0 < factor <= MOST_FACTOR and 0 < seconds <= MOST_SECONDS):
            raise ValueError(f"{text!r} is not within {MOST_FACTOR:g} times and {MOST_SECONDS:g} s")
        return cls(factor, seconds, Deed(found[3] or ""))

    def __str__(self) -> str:
        return f"{self.factor:g}x" + (f" {self.deed}" if self.deed else "")


def parse(text: str) -> list[Phase]:
    """Phases with spaces between them. Raises ``ValueError``."""
    phases = [Phase.parse(word) for word in text.split()]
    if not 1 <= len(phases) <= MOST_PHASES:
        raise ValueError(f"1 to {MOST_PHASES} phases are needed, {len(phases)} came")
    return phases


def starts(phases: Sequence[Phase]) -> list[float]:
    """When each begins, in seconds of the run, and when the last ends."""
    found = [0.0]
    for phase in phases:
        found.append(found[-1] + phase.seconds)
    return found


def arrivals(phases: Sequence[Phase], *, rate: float, seed: int) -> Iterator[tuple[float, Asked]]:
    """Requests, and when each is due in seconds of the run: at random, ``rate`` a second where the factor is 1."""
    traffic = Traffic(seed)
    for began, phase in zip(starts(phases), phases, strict=False):
        for due, asked in schedule(traffic, MIX, rate=rate * phase.factor, seconds=phase.seconds):
            yield began + due, asked
