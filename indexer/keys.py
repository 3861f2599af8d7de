"""Make, list and revoke keys: the commands that write the service's keys file."""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossmodal.api.keys import Key, digest_of, load_entries, new_key, parse_keys
from crossmodal.errors import ConfigurationError

Entries = list[Any]


def add_key(file: Path, **members: object) -> str:
    """Make a key, add its entry with ``members`` to ``file``, and return it; it is kept nowhere.

    The file is made if need be, and readable for its owner alone. Raises ``ConfigurationError`` and changes nothing if
    the file or the entry would not be valid.
    """
    key = new_key()
    entry = {name: value for name, value in members.items() if value is not None}
    _change(file, lambda entries: [*entries, {**entry, "sha256": digest_of(key)}], create=True)
    return key


def revoke_key(file: Path, name: str) -> None:
    """Take the entry called ``name`` out of ``file``. Raises ``ConfigurationError`` if there is none."""

    def without(entries: Entries) -> Entries:
        left = [entry for entry in entries if entry["name"] != name]
        if len(left) == len(entries):
            raise ConfigurationError(f"{file} has no key called {name!r}")
        return left

    _change(file, without)


def list_keys(file: Path) -> Iterator[str]:
    """A line for each key: name, tenant, scopes, rate, expiry; no hash. Raises ``ConfigurationError``."""
    now = datetime.now(UTC)
    with _told(file):
        for key in parse_keys(file.read_bytes()):
            yield "\t".join((key.name, key.tenant, ",".join(sorted(key.rights)), _rate(key), _expiry(key, now)))


def moment(text: str) -> str:
    """A date-time as the file has it: ``text`` is one, in UTC unless it says otherwise, or a date for its beginning.

    Raises ``ConfigurationError`` if it is neither, or past.
    """
    try:
        given = datetime.fromisoformat(text)
        given = (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text!r} is not a date or date-time, as 2030-01-31 or 2030-01-31T12:00:00Z"
        ) from None
    if given <= datetime.now(UTC):
        raise ConfigurationError(f"{text} is past: the key would not be valid for a moment")
    return given.isoformat().replace("+00:00", "Z")


def _rate(key: Key) -> str:
    if key.rate is None:
        return "default rate"
    return f"{key.rate:g}/s" + ("" if key.burst is None else f", burst {key.burst:g}")


def _expiry(key: Key, now: datetime) -> str:
    if key.expires is None:
        return "does not expire"
    return f"{'expired' if key.expired(now) else 'expires'} {key.expires.isoformat().replace('+00:00', 'Z')}"


def _change(file: Path, change: Callable[[Entries], Entries], *, create: bool = False) -> None:
    """Replace ``file`` by a changed one in one step: a service that reads it meanwhile finds the old or the new one."""
    with _told(file), _alone(file):
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            if not create:
                raise
            content = b"[]"
        parse_keys(content)
        changed = json.dumps(change(load_entries(content)), indent=2, ensure_ascii=False).encode() + b"\n"
        parse_keys(changed)
        _replace(file, changed)


def _replace(file: Path, content: bytes) -> None:
    # A link stays one: what it points to is replaced. mkstemp makes files with mode 0600.
    target = file.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as output:
            if target.exists():
                _keep_owner(output.fileno(), target)
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _keep_owner(descriptor: int, target: Path) -> None:
    """Root may write the file for the service's user, who must still be able to read it."""
    before = target.stat()
    if before.st_uid != os.geteuid():
        os.fchown(descriptor, before.st_uid, before.st_gid)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one command at a time change the files of a folder: the second would undo what the first wrote."""
    descriptor = os.open(file.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or type(error).__name__}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error.detail.removeprefix(f'{file} ')}") from None
