"""Options with bounds: what argparse calls to read them, and says of those that make no sense."""

import argparse
from collections.abc import Callable
from typing import TypeVar

_MOST_SHOWN = 40
T = TypeVar("T")


def whole(meaning: str, least: int, most: int) -> Callable[[str], int]:
    """What reads a whole number from ``least`` to ``most``; ``meaning`` is what it has to be, such as "number of users"."""
    return _bounded(int, f"whole {meaning}", least, most)


def number(meaning: str, least: float, most: float) -> Callable[[str], float]:
    """What reads a number from ``least`` to ``most``, which NaN is not; ``meaning`` as in ``whole``."""
    return _bounded(float, meaning, least, most)


def checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """``read``, whose ``ValueError`` argparse would hide, with what it says."""

    def converted(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


N = TypeVar("N", int, float)


def _bounded(kind: Callable[[str], N], meaning: str, least: N, most: N) -> Callable[[str], N]:
    def read(text: str) -> N:
        try:
            found = kind(text)
        except ValueError:
            found = None
        if found is None or not least <= found <= most:
            shown = repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")
            raise argparse.ArgumentTypeError(f"{shown} is not a {meaning} from {least:.12g} to {most:.12g}")
        return found

    return read


seed = whole("number", 0, 2**32 - 1)
"""Of what is drawn at random."""
