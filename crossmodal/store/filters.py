"""The filter language of the HTTP contract: JSON in, a small tree out, and what the tree means.

Values are compared by kind: strings with strings, bools with bools, numbers with numbers by their value, so that 1
equals 1.0 and never equals true. ``Range`` compares as 64-bit floats, which tell whole numbers apart up to 2**53.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from crossmodal.errors import ValidationFailed
from crossmodal.records import Metadata, Scalar
from crossmodal.store.metadata import Loc, check_key, check_metadata, check_number, check_scalar, describe

__all__ = [
    "And",
    "AnyOf",
    "Equals",
    "Filter",
    "Not",
    "Or",
    "Range",
    "check_metadata",
    "matches",
    "parse_filter",
]

MAX_DEPTH = 8
MAX_CONDITIONS = 64
MAX_ANY_VALUES = 256
BOUNDS = ("gt", "gte", "lt", "lte")
OPERATORS = ("any", *BOUNDS)


@dataclass(frozen=True, slots=True)
class Equals:
    """The field has this value, or is a list that holds it."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field has one of these values, or is a list that holds one."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field is a number (or a list that holds one) within every bound given."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """The inner filter does not hold; so it holds for items without the field."""

    inner: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """All hold; of none, everything does."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one holds; of none, nothing does."""

    parts: tuple["Filter", ...]


Filter = Equals | AnyOf | Range | Not | And | Or


def parse_filter(value: object, *, loc: Loc = ("filter",)) -> Filter:
    """Read the JSON of a filter; ``{}`` holds for everything. Raises ``ValidationFailed`` at the first fault.

    At most 8 objects are nested, 64 conditions are asked and 256 values are listed by one ``any``.
    """
    if value == {}:
        return And(())
    return _Parser().parse(value, loc, depth=1)


def matches(where: Filter, metadata: Metadata) -> bool:
    """Whether ``where`` holds for an item with this ``metadata``: what every store must agree with."""
    match where:
        case Equals(field, value):
            return any(_same(held, value) for held in _values(metadata, field))
        case AnyOf(field, values):
            return any(_same(held, value) for held in _values(metadata, field) for value in values)
        case Range(field):
            return any(_within(held, where) for held in _values(metadata, field))
        case Not(inner):
            return not matches(inner, metadata)
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)


def _values(metadata: Metadata, field: str) -> Iterable[Scalar]:
    value = metadata.get(field)
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _same(left: Scalar, right: Scalar) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _within(value: Scalar, bounds: Range) -> bool:
    if isinstance(value, bool | str):
        return False
    number = float(value)
    return (
        (bounds.gt is None or number > bounds.gt)
        and (bounds.gte is None or number >= bounds.gte)
        and (bounds.lt is None or number < bounds.lt)
        and (bounds.lte is None or number <= bounds.lte)
    )


class _Parser:
    """One reading of one filter; counts its conditions."""

    def __init__(self) -> None:
        self._conditions = 0

    def parse(self, value: object, loc: Loc, depth: int) -> Filter:
        if not isinstance(value, dict):
            raise ValidationFailed(f"a filter is an object of conditions; this is {describe(value)}", loc=loc)
        if depth > MAX_DEPTH:
            raise ValidationFailed(f"a filter has at most {MAX_DEPTH} levels", loc=loc)
        if not value:
            raise ValidationFailed("an inner filter has at least one condition; this is {}", loc=loc)
        parts = tuple(self._entry(key, entry, loc, depth) for key, entry in value.items())
        return parts[0] if len(parts) == 1 else And(parts)

    def _entry(self, key: object, value: object, loc: Loc, depth: int) -> Filter:
        match key:
            case "not":
                return Not(self.parse(value, (*loc, key), depth + 1))
            case "and":
                return And(self._list(value, (*loc, key), depth + 1))
            case "or":
                return Or(self._list(value, (*loc, key), depth + 1))
        field = check_key(key, loc=loc)
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise ValidationFailed(f"a filter has at most {MAX_CONDITIONS} conditions", loc=(*loc, field))
        return _condition(field, value, (*loc, field))

    def _list(self, value: object, loc: Loc, depth: int) -> tuple[Filter, ...]:
        if not isinstance(value, list) or not value:
            came = "an empty list" if value == [] else describe(value)
            raise ValidationFailed(f"{loc[-1]!r} takes a list of at least one filter; this is {came}", loc=loc)
        return tuple(self.parse(part, (*loc, index), depth) for index, part in enumerate(value))


def _condition(field: str, value: object, loc: Loc) -> Filter:
    if isinstance(value, dict):
        return _operators(field, value, loc)
    if isinstance(value, list):
        raise ValidationFailed('one of several values is written {"any": [...]}; this is a bare list', loc=loc)
    if value is None:
        raise ValidationFailed("a field is compared with a string, a number, true or false; this is null", loc=loc)
    return Equals(field, check_scalar(value, loc=loc))


def _operators(field: str, value: dict[object, object], loc: Loc) -> Filter:
    allowed = ", ".join(OPERATORS)
    for name in value:
        if name not in OPERATORS:
            shown = describe(name).removeprefix("the string ")
            raise ValidationFailed(f"there is no operator {shown}; allowed are {allowed}", loc=(*loc, str(name)))
    if not value:
        raise ValidationFailed(f"an operator is missing; allowed are {allowed}", loc=loc)
    if "any" not in value:
        return Range(field, **{name: _bound(value[name], (*loc, name)) for name in BOUNDS if name in value})
    if len(value) > 1:
        raise ValidationFailed('"any" stands alone; join it to a range with "and"', loc=loc)
    return _any_of(field, value["any"], (*loc, "any"))


def _any_of(field: str, value: object, loc: Loc) -> AnyOf:
    if not isinstance(value, list):
        raise ValidationFailed(f"'any' takes a list of values; this is {describe(value)}", loc=loc)
    if not 1 <= len(value) <= MAX_ANY_VALUES:
        raise ValidationFailed(f"'any' takes 1 to {MAX_ANY_VALUES} values; this has {len(value)}", loc=loc)
    return AnyOf(field, tuple(check_scalar(entry, loc=(*loc, index)) for index, entry in enumerate(value)))


def _bound(value: object, loc: Loc) -> float:
    return float(check_number(value, loc=loc))
