"""Keys: what the keys file says, and whose key it is that came.

The file is a JSON list of objects: `name`, `tenant`, `scopes` (of `read`, `write`, `admin`), `sha256` of the key in
hexadecimal, and as far as wanted `rate` and `burst` (units of work, see ``crossmodal.metering``) and `expires` (a
date-time with its zone, ISO 8601). `python -m indexer key` makes the keys and writes the file.

Only hashes are kept, and SHA-256 without salt or stretching is enough for them. Slow hashes make up for secrets that
people choose; a key made here has 256 random bits, so that from its hash it can be found neither by guessing nor in a
table made beforehand. NIST SP 800-63B, section 5.1.2.2, asks of stored secrets of at least 112 bits of entropy no
more than an approved one-way function. Do not write the hash of a chosen word into the file.
"""

import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from crossmodal.api.caller import Caller, Right
from crossmodal.errors import ConfigurationError

PREFIX = "cms_"
"""What every key made here begins with, so that scanners for leaked secrets can tell it from other text."""

MAX_KEYS = 1000
"""Every one is compared with every key that comes."""

TENANT = r"^[a-z0-9][a-z0-9_-]{0,63}$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_NAME = re.compile(NAME)
_FIELD = re.compile(r"[a-z_0-9]{1,16}")
_IN_CLEAR = frozenset({"key", "secret", "token", "password", "plaintext"})
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the file. ``rate`` in units of work a second and ``burst`` in units, None where it names none."""

    name: str
    tenant: str
    rights: frozenset[Right]
    digest: str = field(repr=False)
    rate: float | None = None
    burst: float | None = None
    expires: datetime | None = None

    @property
    def caller(self) -> Caller:
        """Who holds the key; the right to administer includes the others."""
        rights = frozenset(Right) if Right.ADMIN in self.rights else self.rights
        return Caller(self.tenant, rights, self.name)

    def expired(self, now: datetime) -> bool:
        """Whether the key is no longer valid at ``now``."""
        return self.expires is not None and self.expires <= now


class _Entry(BaseModel):
    """An entry as it stands in the file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=NAME)]
    tenant: Annotated[str, Field(pattern=TENANT)]
    scopes: Annotated[list[Literal["read", "write", "admin"]], Field(min_length=1, max_length=3)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = None
    burst: Annotated[float, Field(ge=1, le=1e9)] | None = None
    expires: Annotated[str, Field(max_length=40)] | None = None


_MOMENT = TypeAdapter(AwareDatetime)


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def digest_of(key: str) -> str:
    """What the file holds of a key: its SHA-256, 64 hexadecimal digits."""
    return sha256(key.encode()).hexdigest()


def whose(key: str, keys: Sequence[Key]) -> Key | None:
    """The entry of ``key``, expired or not. Takes the same time wherever it stands, and whether it is known or not."""
    digest = digest_of(key)
    found = None
    for entry in keys:
        if hmac.compare_digest(entry.digest, digest):
            found = entry
    return found


def parse_keys(content: bytes) -> tuple[Key, ...]:
    """The keys of a file. Raises ``ConfigurationError`` naming the entry at fault, never a hash or what may be a key."""
    entries = load_entries(content)
    keys = tuple(_key(place, entry) for place, entry in enumerate(entries, start=1))
    for attribute, what in (("name", "name"), ("digest", "key")):
        seen: dict[str, int] = {}
        for place, key in enumerate(keys, start=1):
            first = seen.setdefault(getattr(key, attribute), place)
            if first != place:
                raise ConfigurationError(f"entries {first} and {place} ({key.name!r}) have the same {what}")
    return keys


def load_entries(content: bytes) -> list[Any]:
    """The file's JSON list, its entries unchecked. Raises ``ConfigurationError``."""
    try:
        entries = json.loads(content, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        # Of the parser's own words none: it repeats what it read.
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigurationError(f"it is not valid JSON{place}") from None
    if not isinstance(entries, list):
        raise ConfigurationError("it is not a JSON list of keys")
    if len(entries) > MAX_KEYS:
        raise ConfigurationError(f"it has {len(entries)} keys; at most {MAX_KEYS} are allowed")
    return entries


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        msg = "a member stands twice"
        raise ValueError(msg)
    return members


def _no_constant(_: str) -> None:
    msg = "no number"
    raise ValueError(msg)


def _key(place: int, given: object) -> Key:
    name = given.get("name") if isinstance(given, dict) else None
    # A key written into the wrong member must not reach the log by way of the entry's name.
    shown = isinstance(name, str) and _NAME.fullmatch(name) is not None and not name.startswith(PREFIX)
    label = f"entry {place} ({name!r})" if shown else f"entry {place}"
    if isinstance(given, dict) and (clear := _IN_CLEAR.intersection(given)):
        raise ConfigurationError(
            f"{label} has a {min(clear)!r}: keys in clear are refused, only their 'sha256' is kept"
        )
    if isinstance(name, str) and name.startswith(PREFIX):
        raise ConfigurationError(f"{label} has a name that looks like a key")
    try:
        entry = _Entry.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(f"{label}: {_fault(error)}") from None
    return Key(
        name=entry.name,
        tenant=entry.tenant,
        rights=frozenset(map(Right, entry.scopes)),
        digest=entry.sha256,
        rate=entry.rate,
        burst=entry.burst,
        expires=None if entry.expires is None else _moment(label, entry.expires),
    )


def _fault(error: ValidationError) -> str:
    """The first fault, without what stands there."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    loc = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or _FIELD.fullmatch(str(part)))
    if first["type"] == "extra_forbidden":
        return f"it has an unknown member {loc!r}" if loc else "it has an unknown member"
    if first["loc"] == ("sha256",):
        return "sha256 must be 64 hexadecimal digits in lower case"
    return f"{loc}: {first['msg']}" if loc else str(first["msg"])


def _moment(label: str, text: str) -> datetime:
    try:
        return _MOMENT.validate_python(datetime.fromisoformat(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{label}: expires must be a date-time with a zone, as 2030-01-31T12:00:00Z") from None
