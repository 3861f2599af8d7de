"""Who is asking: the tenant and the rights of the key that came with a request."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Request

from crossmodal.records import DEFAULT_TENANT


class Right(StrEnum):
    """What a key may do: look and search; add and remove; see the service itself. ADMIN includes the others."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a key; ``name`` is the key's, for logs. Requests see and change the items of ``tenant`` alone."""

    tenant: str
    rights: frozenset[Right]
    name: str


ANYBODY = Caller(DEFAULT_TENANT, frozenset(Right), "anybody")
"""The caller of every request while no keys are configured."""

CALLER = "crossmodal.caller"
"""Where an ASGI scope has it."""


def set_caller(scope: MutableMapping[str, Any], caller: Caller) -> None:
    """Note in an ASGI scope who is asking."""
    scope[CALLER] = caller


def caller_of(request: Request) -> Caller:
    """Return who is asking, as the edge has noted it."""
    caller = request.scope.get(CALLER, ANYBODY)
    return caller if isinstance(caller, Caller) else ANYBODY


async def _caller(request: Request) -> Caller:  # not plain: that would be run in a thread, for each request
    return caller_of(request)


Who = Annotated[Caller, Depends(_caller)]
"""The caller, for routes."""
