"""What a case is, and all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

GOOD = ""
"""In place of a problem's code: the request is odd, but must be answered like any other."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what must be answered.

    ``status`` None: nobody is left to answer, the connection just closes. ``wire`` builds the request's bytes.
    ``half_close``: the client stops sending after them. ``sampled``: also asked where the model is in a service of its
    own. ``patience``: seconds after which no answer counts as hanging.
    """

    name: str
    group: str
    route: str
    wire: Callable[[], bytes]
    status: int | None
    code: str
    half_close: bool = False
    sampled: bool = False
    patience: float = 60.0


class Collector:
    """Gathers the cases of one class."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.cases: list[Case] = []

    def add(
        self,
        name: str,
        route: str,
        wire: bytes | Callable[[], bytes],
        status: int | None,
        code: str = GOOD,
        *,
        half_close: bool = False,
        sampled: bool = False,
    ) -> None:
        """One more; ``wire`` is built when it is asked for if it is large."""
        build = wire if callable(wire) else _constant(wire)
        self.cases.append(Case(name, self.group, route, build, status, code, half_close=half_close, sampled=sampled))


def _constant(wire: bytes) -> Callable[[], bytes]:
    return lambda: wire


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case; names are unique."""
    from tests.corpus import (
        composed,
        duplicates,
        encodings,
        filters,
        headers,
        identifiers,
        json_bodies,
        metadata,
        multipart,
        openai,
        pictures,
        ranges,
        routes,
        texts,
        zero_shot,
    )

    modules = (
        pictures,
        encodings,
        multipart,
        texts,
        json_bodies,
        identifiers,
        metadata,
        filters,
        ranges,
        duplicates,
        headers,
        routes,
        composed,
        openai,
        zero_shot,
    )
    cases = tuple(case for module in modules for case in module.cases())
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        msg = f"two cases share a name: {twice}"
        raise ValueError(msg)
    return cases
