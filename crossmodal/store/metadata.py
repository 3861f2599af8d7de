"""What an item's metadata may be: a flat JSON object whose every key each store can address and compare.

Keys are printable and hold neither quotation mark nor backslash, so that a key written between quotation marks cannot
end its own quotation in the path language of a store.
"""

import json
import math

from crossmodal.errors import ValidationFailed
from crossmodal.records import MetadataValue, Scalar

MAX_KEYS = 64
MAX_KEY_CHARS = 64
MAX_STRING_CHARS = 8192
MAX_LIST_VALUES = 64
MAX_JSON_BYTES = 16 * 1024
RESERVED_KEYS = frozenset({"and", "or", "not"})
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_SHOWN_CHARS = 40

Loc = tuple[str | int, ...]
"""A place in the request, outermost first."""


def check_metadata(value: object, *, loc: Loc = ("metadata",)) -> dict[str, MetadataValue]:
    """Return ``value`` as metadata. Raises ``ValidationFailed`` at the first key or value that is not allowed."""
    if not isinstance(value, dict):
        raise ValidationFailed(f"metadata is a JSON object; this is {describe(value)}", loc=loc)
    if len(value) > MAX_KEYS:
        raise ValidationFailed(f"metadata has {len(value)} keys; at most {MAX_KEYS} are allowed", loc=loc)
    checked: dict[str, MetadataValue] = {}
    for key, entry in value.items():
        name = check_key(key, loc=loc)
        checked[name] = _check_value(entry, (*loc, name))
    size = len(json.dumps(checked, ensure_ascii=False).encode())
    if size > MAX_JSON_BYTES:
        raise ValidationFailed(f"metadata takes {size} bytes as JSON; at most {MAX_JSON_BYTES} are allowed", loc=loc)
    return checked


def check_key(key: object, *, loc: Loc) -> str:
    """Return ``key`` as the name of a field. Raises ``ValidationFailed``."""
    if not isinstance(key, str):
        raise ValidationFailed(f"a key is a string; this is {describe(key)}", loc=loc)
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise ValidationFailed(f"a key has 1 to {MAX_KEY_CHARS} characters; {describe(key)} has {len(key)}", loc=loc)
    if not key.isprintable() or '"' in key or "\\" in key:
        raise ValidationFailed(
            f"a key has printable characters other than quotation marks and backslashes; this is {describe(key)}",
            loc=loc,
        )
    if key in RESERVED_KEYS:
        raise ValidationFailed(f"{key!r} is an operator of filters and cannot be a key", loc=loc)
    return key


def check_scalar(value: object, *, loc: Loc) -> Scalar:
    """Return ``value`` as a string, number or bool that every store compares alike. Raises ``ValidationFailed``."""
    if isinstance(value, str):
        return _check_string(value, loc)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return check_number(value, loc=loc)
    raise ValidationFailed(f"a value is a string, a number, true or false; this is {describe(value)}", loc=loc)


def check_number(value: object, *, loc: Loc) -> int | float:
    """Return ``value`` as a finite float or an integer of 64 bits. Raises ``ValidationFailed``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationFailed(f"a number is needed here; this is {describe(value)}", loc=loc)
    if isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
        raise ValidationFailed("whole numbers have at most 64 bits; write larger ones as strings", loc=loc)
    if not math.isfinite(value):
        raise ValidationFailed(f"numbers are finite; this is {value}", loc=loc)
    return value


def describe(value: object) -> str:
    """Name what came, in JSON's words, short enough for a message."""
    kinds = {type(None): "null", list: "a list", tuple: "a list", dict: "an object"}
    if type(value) in kinds:
        return kinds[type(value)]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {value if len(value) <= _SHOWN_CHARS else value[:_SHOWN_CHARS] + '...'!a}"
    if isinstance(value, int | float):
        return f"the number {value}" if abs(value) <= INT64_MAX else "a number out of range"
    return f"a {type(value).__name__}"


def _check_value(value: object, loc: Loc) -> MetadataValue:
    if value is None:
        return None
    if isinstance(value, dict):
        raise ValidationFailed(
            "metadata is flat: a value is a scalar, null or a list of scalars, not an object", loc=loc
        )
    if not isinstance(value, list):
        return check_scalar(value, loc=loc)
    if len(value) > MAX_LIST_VALUES:
        raise ValidationFailed(f"a list has at most {MAX_LIST_VALUES} values; this has {len(value)}", loc=loc)
    return [check_scalar(entry, loc=(*loc, index)) for index, entry in enumerate(value)]


def _check_string(value: str, loc: Loc) -> str:
    if len(value) > MAX_STRING_CHARS:
        raise ValidationFailed(f"a string has at most {MAX_STRING_CHARS} characters; this has {len(value)}", loc=loc)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValidationFailed("a string holds half of a surrogate pair, which is no character", loc=loc) from None
    return value
