"""Checking metadata: what is allowed, and what is said of what is not."""

import pytest

from crossmodal.errors import ValidationFailed
from crossmodal.store.filters import check_metadata


def test_what_is_allowed_comes_back_unchanged() -> None:
    given = {
        "kind": "shoes",
        "Price (EUR)": 49.5,
        "größe.eu": [40, 41.5, "XL", True],
        "empty": [],
        "none": None,
        "limits": [2**63 - 1, -(2**63)],
        "k" * 64: "x" * 8192,
    }
    checked = check_metadata(given)
    assert checked == given
    assert list(checked) == list(given)
    assert checked is not given
    assert check_metadata({}) == {}


@pytest.mark.parametrize(
    ("given", "loc", "detail"),
    [
        ([], (), "metadata is a JSON object; this is a list"),
        ("x", (), "metadata is a JSON object; this is the string 'x'"),
        (1.5, (), "metadata is a JSON object; this is the number 1.5"),
        ({1: 2}, (), "a key is a string; this is the number 1"),
        ({"": 1}, (), "a key has 1 to 64 characters; the string '' has 0"),
        ({"k" * 65: 1}, (), f"a key has 1 to 64 characters; the string '{'k' * 40}...' has 65"),
        (
            {'a"].b': 1},
            (),
            "a key has printable characters other than quotation marks and backslashes; this is the string 'a\"].b'",
        ),
        (
            {"a\\": 1},
            (),
            "a key has printable characters other than quotation marks and backslashes; this is the string 'a\\\\'",
        ),
        (
            {"a\n": 1},
            (),
            "a key has printable characters other than quotation marks and backslashes; this is the string 'a\\n'",
        ),
        (
            {"a\ud800": 1},
            (),
            "a key has printable characters other than quotation marks and backslashes; this is the string 'a\\ud800'",
        ),
        ({"and": 1}, (), "'and' is an operator of filters and cannot be a key"),
        ({"or": 1}, (), "'or' is an operator of filters and cannot be a key"),
        ({"not": 1}, (), "'not' is an operator of filters and cannot be a key"),
        (
            {"a": {"b": 1}},
            ("a",),
            "metadata is flat: a value is a scalar, null or a list of scalars, not an object",
        ),
        ({"a": [[1]]}, ("a", 0), "a value is a string, a number, true or false; this is a list"),
        ({"a": ["x", None]}, ("a", 1), "a value is a string, a number, true or false; this is null"),
        ({"a": [1] * 65}, ("a",), "a list has at most 64 values; this has 65"),
        ({"a": "x" * 8193}, ("a",), "a string has at most 8192 characters; this has 8193"),
        ({"a": "\udfff"}, ("a",), "a string holds half of a surrogate pair, which is no character"),
        ({"a": float("nan")}, ("a",), "numbers are finite; this is nan"),
        ({"a": [1.0, float("inf")]}, ("a", 1), "numbers are finite; this is inf"),
        ({"a": 2**63}, ("a",), "whole numbers have at most 64 bits; write larger ones as strings"),
        ({"a": -(2**63) - 1}, ("a",), "whole numbers have at most 64 bits; write larger ones as strings"),
        ({f"k{index}": 1 for index in range(65)}, (), "metadata has 65 keys; at most 64 are allowed"),
        (
            {"a": "x" * 8192, "b": "x" * 8192},
            (),
            "metadata takes 16402 bytes as JSON; at most 16384 are allowed",
        ),
        ({"a": {1, 2}}, ("a",), "a value is a string, a number, true or false; this is a set"),
    ],
)
def test_what_is_not_allowed(given: object, loc: tuple[object, ...], detail: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_metadata(given)
    assert refused.value.detail == detail
    assert refused.value.loc == ("metadata", *loc)


def test_the_place_can_be_another() -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_metadata({"a": {}}, loc=("items", 3, "metadata"))
    assert refused.value.loc == ("items", 3, "metadata", "a")


def test_bytes_are_counted_in_utf_8() -> None:
    assert check_metadata({"a": "é" * 8000})
    with pytest.raises(ValidationFailed, match="metadata takes 24009 bytes"):
        check_metadata({"a": "日" * 8000})
