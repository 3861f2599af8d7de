"""Reading filters: what is allowed, and what is said of what is not."""

from typing import Any

import pytest

from crossmodal.errors import ValidationFailed
from crossmodal.records import Metadata
from crossmodal.store.filters import And, AnyOf, Equals, Filter, Not, Or, Range, matches, parse_filter


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({}, And(())),
        ({"category": "shoes"}, Equals("category", "shoes")),
        ({"n": 1}, Equals("n", 1)),
        ({"n": 1.5}, Equals("n", 1.5)),
        ({"b": False}, Equals("b", value=False)),
        ({"price": {"gte": 10, "lt": 50}}, Range("price", gte=10.0, lt=50.0)),
        ({"price": {"gt": -1, "lte": 2.5}}, Range("price", gt=-1.0, lte=2.5)),
        ({"tag": {"any": ["a", 1, True]}}, AnyOf("tag", ("a", 1, True))),
        ({"not": {"a": 1}}, Not(Equals("a", 1))),
        ({"and": [{"a": 1}, {"b": 2}]}, And((Equals("a", 1), Equals("b", 2)))),
        ({"or": [{"a": 1}]}, Or((Equals("a", 1),))),
        ({"a": 1, "not": {"b": 2}}, And((Equals("a", 1), Not(Equals("b", 2))))),
        ({"or": [{"a": 1, "b": 2}, {"c": 3}]}, Or((And((Equals("a", 1), Equals("b", 2))), Equals("c", 3)))),
        ({"gte": 5}, Equals("gte", 5)),
        ({"any": {"any": [1]}}, AnyOf("any", (1,))),
    ],
)
def test_reads(written: object, read: Filter) -> None:
    assert parse_filter(written) == read


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"a": 1}
    for _ in range(levels - 1):
        value = {"not": value}
    return value


@pytest.mark.parametrize(
    ("written", "loc", "detail"),
    [
        (None, (), "a filter is an object of conditions; this is null"),
        ([], (), "a filter is an object of conditions; this is a list"),
        ("a", (), "a filter is an object of conditions; this is the string 'a'"),
        ({"a": None}, ("a",), "a field is compared with a string, a number, true or false; this is null"),
        ({"a": ["x"]}, ("a",), 'one of several values is written {"any": [...]}; this is a bare list'),
        ({"a": {}}, ("a",), "an operator is missing; allowed are any, gt, gte, lt, lte"),
        (
            {"a": {"like": "x"}},
            ("a", "like"),
            "there is no operator 'like'; allowed are any, gt, gte, lt, lte",
        ),
        (
            {"a": {"gte": 1, "$lt": 2}},
            ("a", "$lt"),
            "there is no operator '$lt'; allowed are any, gt, gte, lt, lte",
        ),
        ({"a": {"gte": "1"}}, ("a", "gte"), "a number is needed here; this is the string '1'"),
        ({"a": {"gte": True}}, ("a", "gte"), "a number is needed here; this is true"),
        ({"a": {"gte": None}}, ("a", "gte"), "a number is needed here; this is null"),
        ({"a": {"lt": float("nan")}}, ("a", "lt"), "numbers are finite; this is nan"),
        ({"a": {"lt": float("inf")}}, ("a", "lt"), "numbers are finite; this is inf"),
        ({"a": float("-inf")}, ("a",), "numbers are finite; this is -inf"),
        ({"a": 2**63}, ("a",), "whole numbers have at most 64 bits; write larger ones as strings"),
        ({"a": {"gt": 10**400}}, ("a", "gt"), "whole numbers have at most 64 bits; write larger ones as strings"),
        ({"a": "\ud800"}, ("a",), "a string holds half of a surrogate pair, which is no character"),
        ({"a": "x" * 8193}, ("a",), "a string has at most 8192 characters; this has 8193"),
        ({"a": {"any": "x"}}, ("a", "any"), "'any' takes a list of values; this is the string 'x'"),
        ({"a": {"any": []}}, ("a", "any"), "'any' takes 1 to 256 values; this has 0"),
        ({"a": {"any": [1] * 257}}, ("a", "any"), "'any' takes 1 to 256 values; this has 257"),
        (
            {"a": {"any": [1, [2]]}},
            ("a", "any", 1),
            "a value is a string, a number, true or false; this is a list",
        ),
        ({"a": {"any": [None]}}, ("a", "any", 0), "a value is a string, a number, true or false; this is null"),
        ({"a": {"any": [1], "gt": 2}}, ("a",), '"any" stands alone; join it to a range with "and"'),
        ({"not": [{"a": 1}]}, ("not",), "a filter is an object of conditions; this is a list"),
        ({"not": {}}, ("not",), "an inner filter has at least one condition; this is {}"),
        ({"and": {"a": 1}}, ("and",), "'and' takes a list of at least one filter; this is an object"),
        ({"or": []}, ("or",), "'or' takes a list of at least one filter; this is an empty list"),
        ({"or": [{"a": 1}, 2]}, ("or", 1), "a filter is an object of conditions; this is the number 2"),
        (
            {"or": [{"a": 1}, {"not": {"b": {"x": 1}}}]},
            ("or", 1, "not", "b", "x"),
            "there is no operator 'x'; allowed are any, gt, gte, lt, lte",
        ),
        ({"": 1}, (), "a key has 1 to 64 characters; the string '' has 0"),
        (
            {'a"': 1},
            (),
            "a key has printable characters other than quotation marks and backslashes; this is the string 'a\"'",
        ),
        (nested(9), ("not",) * 8, "a filter has at most 8 levels"),
        (
            {"or": [{f"k{index}": index} for index in range(65)]},
            ("or", 64, "k64"),
            "a filter has at most 64 conditions",
        ),
    ],
)
def test_refuses(written: object, loc: tuple[object, ...], detail: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_filter(written)
    assert refused.value.detail == detail
    assert refused.value.loc == ("filter", *loc)
    assert refused.value.status == 422


def test_bounds_are_met_exactly() -> None:
    assert isinstance(parse_filter(nested(8)), Not)
    assert isinstance(parse_filter({"or": [{f"k{index}": index} for index in range(64)]}), Or)
    assert isinstance(parse_filter({"a": {"any": list(range(256))}}), AnyOf)


def test_the_place_can_be_another() -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_filter({"a": None}, loc=("body", "filter"))
    assert refused.value.loc == ("body", "filter", "a")


def test_a_filter_of_a_thousand_levels_is_refused_and_not_followed() -> None:
    with pytest.raises(ValidationFailed, match="at most 8 levels"):
        parse_filter(nested(900))


SHOES: Metadata = {"kind": "shoes", "price": 49.5, "sizes": [40, 41], "new": True, "note": None}


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ({}, True),
        ({"kind": "shoes"}, True),
        ({"kind": "hats"}, False),
        ({"sizes": 41}, True),
        ({"sizes": 42}, False),
        ({"sizes": {"gt": 40, "lt": 41}}, False),
        ({"sizes": {"gt": 40}}, True),
        ({"new": True}, True),
        ({"new": 1}, False),
        ({"price": {"gte": 49.5, "lte": 49.5}}, True),
        ({"price": {"gt": 49.5}}, False),
        ({"price": {"lt": 49.5}}, False),
        ({"new": {"gte": 0}}, False),
        ({"kind": {"gte": 0}}, False),
        ({"note": "x"}, False),
        ({"not": {"note": "x"}}, True),
        ({"not": {"nothing": {"gt": 0}}}, True),
        ({"kind": {"any": ["hats", "shoes"]}}, True),
        ({"kind": "shoes", "new": False}, False),
        ({"or": [{"kind": "hats"}, {"new": True}]}, True),
    ],
)
def test_means(written: object, *, holds: bool) -> None:
    assert matches(parse_filter(written), SHOES) is holds
