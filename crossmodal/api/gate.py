"""The gate every request passes: what it needs a right for, whose key came, and whether that key has units left."""

import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from crossmodal import metering
from crossmodal.api.caller import ANYBODY, Caller, Right
from crossmodal.api.keyring import KeyRing
from crossmodal.api.keys import Key, whose
from crossmodal.errors import CrossModalError, Forbidden, Unauthorized
from crossmodal.metering import Buckets, Clock, Rate
from crossmodal.records import DEFAULT_TENANT
from crossmodal.settings import Settings

NOBODY = Caller(DEFAULT_TENANT, frozenset(), "nobody")
"""The caller where no key is needed, while keys are configured: without any right."""

_LOOK = frozenset({"GET", "HEAD"})
_ASK = _LOOK | {"POST"}
_AUTHORIZATION = b"authorization"
_CREDENTIALS = re.compile(rb"bearer +([A-Za-z0-9._~+/-]{1,512}=*)", re.IGNORECASE)
"""RFC 6750, section 2.1."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Rule:
    """Requests with one of ``methods`` to ``path``, and with ``below`` to whatever lies under it, need ``right``."""

    methods: frozenset[str]
    path: str
    right: Right | None
    below: bool = False

    def covers(self, method: str, path: str) -> bool:
        return method in self.methods and (path == self.path or (self.below and path.startswith(f"{self.path}/")))


_TABLE = (
    *(_Rule(_LOOK, path, None) for path in ("/", "/livez", "/readyz", "/healthz", "/docs.json")),
    _Rule(_LOOK, "/ui", None, below=True),
    *(
        _Rule(_ASK, path, Right.READ, below=True)
        for path in (
            "/search",
            "/similarity",
            "/classify",
            "/describe",
            "/duplicates",
            "/embed",
            "/moderate",
            "/recommend",
            "/explain",
            "/v1",
        )
    ),
    _Rule(_LOOK, "/stats", Right.READ),
    _Rule(_LOOK, "/items", Right.READ, below=True),
    _Rule(_LOOK, "/images", Right.READ, below=True),
    _Rule(frozenset({"POST"}), "/index", Right.WRITE, below=True),
    _Rule(frozenset({"DELETE"}), "/items", Right.WRITE, below=True),
)
"""What is not listed needs ADMIN: a new route is closed until somebody has thought about it."""


def right_needed(method: str, path: str) -> Right | None:
    """The right a request needs, None where it needs no key.

    ``path`` is the decoded one that the router matches, which compares it as it is: nothing is put right here either.
    Paths that another reader might take for a different one (dots, empty parts, unprintable characters) match no rule.
    """
    if _is_plain(path):
        for rule in _TABLE:
            if rule.covers(method, path):
                return rule.right
    return Right.ADMIN


def _is_plain(path: str) -> bool:
    parts = [part.partition(";")[0] for part in path.split("/")[1:]]
    return path.startswith("/") and "//" not in path and path.isprintable() and not {".", ".."}.intersection(parts)


def challenge(scope: Mapping[str, Any], error: CrossModalError) -> dict[str, str]:
    """The header `WWW-Authenticate` that belongs to a 401 or 403 of ``Gatekeeper.admit`` (RFC 6750, section 3)."""
    value = 'Bearer realm="crossmodal"'
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": value + (', error="invalid_token"' if _authorizations(scope) else "")}
    if isinstance(error, Forbidden):
        return {"WWW-Authenticate": f'{value}, error="insufficient_scope", scope="{_right_needed(scope)}"'}
    return {}


class Gatekeeper:
    """Admits requests or refuses them. One for a process; ``start`` before the first request, ``close`` after the last.

    Without keys everybody may do everything, and ``rate`` (units of work a second, None for no limit), if there is
    one, holds for all together. With keys it holds for each key that has no rate of its own; ``burst`` likewise.
    """

    def __init__(
        self,
        keys: KeyRing | None,
        *,
        rate: float | None = None,
        burst: float | None = None,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ring = keys
        self._rate = rate
        self._burst = burst
        self._now = now
        self._buckets = Buckets(clock)
        self._kept: tuple[Key, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Gatekeeper":
        """Read the keys file, if one is named. Raises ``ConfigurationError``."""
        ring = None if settings.keys_file is None else KeyRing(settings.keys_file)
        return cls(ring, rate=settings.rate, burst=settings.burst)

    def start(self) -> None:
        """Follow changes of the keys file; without one, warn that the service is open to everybody."""
        if self._ring is None:
            log.warning("no keys are configured: whoever reaches the port may read, write and delete everything")
        else:
            self._ring.watch()

    def close(self) -> None:
        """Stop following the keys file."""
        if self._ring is not None:
            self._ring.close()

    def admit(self, scope: MutableMapping[str, Any]) -> Caller:
        """Who is asking, with a request that may go on; its work is charged to the caller's bucket from here on.

        ``scope`` is ASGI's, of type http. Its Authorization header is taken out, so that no log of what comes after, and
        no traceback with its variables, can show a key. Raises ``Unauthorized``, ``Forbidden`` or ``RateLimited``.
        """
        metering.use(None)
        caller = self._admit(scope)
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != _AUTHORIZATION]
        return caller

    def _admit(self, scope: Mapping[str, Any]) -> Caller:
        needed = _right_needed(scope)
        if self._ring is None:
            if needed is not None:
                self._meter(ANYBODY.name, self._rate, None)
            return ANYBODY
        if needed is None:
            return NOBODY
        key = self._identify(scope, self._ring.keys)
        caller = key.caller
        if needed not in caller.rights:
            raise Forbidden(f"the key {key.name!r} may not do this; it would need the scope {needed.value!r}")
        self._meter(key.name, self._rate if key.rate is None else key.rate, key.burst)
        return caller

    def _identify(self, scope: Mapping[str, Any], keys: tuple[Key, ...]) -> Key:
        if keys is not self._kept:
            self._kept = keys
            self._buckets.keep({key.name for key in keys})
        key = whose(_presented(scope), keys)
        if key is None:
            raise Unauthorized("the key is not known here; it may have been revoked")
        if key.expired(self._now()):
            raise Unauthorized(f"the key {key.name!r} has expired")
        return key

    def _meter(self, name: str, rate: float | None, burst: float | None) -> None:
        if rate is None:
            return
        bucket = self._buckets.get(name, Rate.of(rate, self._burst if burst is None else burst))
        bucket.admit()
        metering.use(bucket)


def _right_needed(scope: Mapping[str, Any]) -> Right | None:
    if _is_preflight(scope):
        return None
    path, root = scope["path"], scope.get("root_path", "")
    # As the router does it: what stands before the service's own paths is no part of them.
    return right_needed(scope["method"], path.removeprefix(root) if path.startswith(f"{root}/") else path)


def _is_preflight(scope: Mapping[str, Any]) -> bool:
    """Whether a browser asks, for another site's page, what it may ask; it never sends a key along."""
    names = {name.lower() for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names


def _authorizations(scope: Mapping[str, Any]) -> list[bytes]:
    return [value for name, value in scope["headers"] if name.lower() == _AUTHORIZATION]


def _presented(scope: Mapping[str, Any]) -> str:
    """The key that came; only the header counts. An address, with all it holds, ends in logs and histories."""
    given = _authorizations(scope)
    if not given:
        raise Unauthorized("a key is needed: send it in the header 'Authorization: Bearer KEY', nowhere else")
    credentials = _CREDENTIALS.fullmatch(given[0])
    if len(given) > 1 or credentials is None:
        raise Unauthorized("the Authorization header is not understood: exactly one 'Bearer KEY' is needed")
    return credentials[1].decode("ascii")
