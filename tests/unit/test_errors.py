"""The tree of errors keeps what the contract promises of it."""

import ast
import re

import pytest

from crossmodal import errors
from crossmodal.errors import (
    ClientError,
    CrossModalError,
    ModelUnavailable,
    NotFound,
    Overloaded,
    RateLimited,
    Shed,
)
from tools.servers import ROOT

CONTRACT = {
    "unauthorized": 401,
    "forbidden": 403,
    "rate_limited": 429,
    "validation_failed": 422,
    "malformed_body": 400,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "image_undecodable": 422,
    "image_too_large": 422,
    "text_too_long": 422,
    "not_found": 404,
    "conflict": 409,
    "overloaded": 429,
    "store_unavailable": 503,
    "model_unavailable": 503,
    "deadline_exceeded": 504,
}

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CrossModalError) and "code" in vars(kind)
]


@pytest.mark.parametrize(("code", "status"), CONTRACT.items())
def test_codes_and_statuses_are_stable(code: str, status: int) -> None:
    (kind,) = [kind for kind in KINDS if kind.code == code]
    assert kind.status == status
    assert issubclass(kind, ClientError) == (status < 429)


def test_every_code_is_one_kind_and_stands_in_the_drawing() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    drawn = set(re.findall(r"\d{3} ([a-z_]+)", errors.__doc__ or ""))
    assert drawn == {kind.code for kind in KINDS} - {"internal_error"}


@pytest.mark.parametrize("status", [429, 503])
def test_what_may_pass_says_when_to_try_again(status: int) -> None:
    for kind in KINDS:
        if kind.status == status:
            assert getattr(kind("x"), "retry_after") >= 1  # noqa: B009  not every kind has it


def test_what_is_turned_away_says_at_which_limit() -> None:
    assert Overloaded("x").shed is Shed.OTHER
    assert Overloaded("x", shed=Shed.KEY).shed is Shed.KEY
    assert RateLimited("x").shed is Shed.RATE
    assert [ModelUnavailable("x").shed, ModelUnavailable("x", shed=Shed.ENDING).shed] == [None, Shed.ENDING]
    assert {kind("x").shed for kind in KINDS if not issubclass(kind, Overloaded)} == {None}


def test_every_limit_in_the_code_says_which_it_is() -> None:
    calls = [
        (path.name, {keyword.arg for keyword in node.keywords})
        for path in [ROOT / "service.py", *(ROOT / "crossmodal").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Overloaded"
    ]
    assert len(calls) >= 10
    assert [name for name, keywords in calls if "shed" not in keywords] == []


def test_a_place_grows_from_the_inside_out() -> None:
    error = NotFound("gone", loc=("name",))
    assert error.under("items", 3) is error
    assert error.loc == ("items", 3, "name")
    assert str(error) == error.detail == "gone"
