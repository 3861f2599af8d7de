"""How many users there are at each moment of a run: pure functions of time, as factors of a nominal number of users."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

GRACE = 0.1
"""Share of a run, after load over the nominal, in which what piled up may drain before the objectives hold again."""

_STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)
_PEAK = 4.0
_PEAK_FROM, _PEAK_TO = 0.4, 0.6
_RAMP = 0.1
_NIGHT = 0.2


def steady(_: float) -> float:
    """As many as nominal, from the first moment."""
    return 1.0


def steps(share: float) -> float:
    """A quarter, half, once, twice and four times the nominal: where goodput stops growing lies the knee."""
    return _STEPS[min(int(share * len(_STEPS)), len(_STEPS) - 1)]


def spike(share: float) -> float:
    """Four times the nominal in the middle fifth of the run, at once."""
    return _PEAK if _PEAK_FROM <= share < _PEAK_TO else 1.0


def soak(share: float) -> float:
    """Up to the nominal in the first tenth, and there it stays: for hours, to see what grows."""
    return min(1.0, share / _RAMP)


def diurnal(share: float) -> float:
    """A day in one run: a fifth of the nominal at night, the nominal at noon, as a sine."""
    return _NIGHT + (1 - _NIGHT) * (1 - math.cos(2 * math.pi * share)) / 2


FACTORS: dict[str, Callable[[float], float]] = {
    "steady": steady,
    "steps": steps,
    "spike": spike,
    "soak": soak,
    "diurnal": diurnal,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A named shape of ``seconds`` around a nominal number of ``users``. Raises ``KeyError`` for an unknown name."""

    name: str
    users: int
    seconds: float

    def __post_init__(self) -> None:
        FACTORS[self.name]

    def at(self, elapsed: float) -> int | None:
        """Users after ``elapsed`` seconds, at least 1; None when the run is over."""
        if elapsed >= self.seconds:
            return None
        return max(1, round(self.users * FACTORS[self.name](elapsed / self.seconds)))

    def is_judged(self, second: int) -> bool:
        """Whether the objectives hold for what is sent in this second: no more users than nominal, in it and just before."""
        return second not in _beyond(self)


@cache
def _beyond(shape: Shape) -> frozenset[int]:
    """Seconds of more users than nominal, and those in which what piled up may drain."""
    grace = math.ceil(GRACE * shape.seconds)
    found, last = set(), -math.inf
    for second in range(math.ceil(shape.seconds)):
        for moment in (second, second + 1):
            if (shape.at(moment) or 0) > shape.users:
                last = moment
        if last >= second - grace:
            found.add(second)
    return frozenset(found)
