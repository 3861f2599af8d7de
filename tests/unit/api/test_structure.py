"""How much structure a JSON text may have: counted outside of strings, in one pass."""

import json
import tracemalloc

import httpx
import pytest

from crossmodal.api.structure import MAX_DEPTH, MAX_SEPARATORS, check_structure
from crossmodal.errors import MalformedBody, PayloadTooLarge
from tests.unit.api.helpers import problem


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        nested(MAX_DEPTH),
        b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH,
        b"[" + b"[]," * 1000 + b"[]]",
        json.dumps({"query": "[{" * 100_000 + ",:" * 100_000}).encode(),
        json.dumps({"query": '"[{\\' * 100_000}).encode(),
        b'"' + b"[" * 100,
        b"[" + b"0," * (MAX_SEPARATORS - 1) + b"0]",
    ],
)
def test_what_is_allowed(text: bytes) -> None:
    check_structure(text)


@pytest.mark.parametrize(
    "text",
    [
        nested(MAX_DEPTH + 1),
        b'{"a":' * (MAX_DEPTH + 1),
        b'["[", ' * (MAX_DEPTH + 1),
        b'["]]]]]]]]", ' * (MAX_DEPTH + 1),
        b'["\\"]]]", ' * (MAX_DEPTH + 1),
        nested(50_000),
    ],
)
def test_too_deep(text: bytes) -> None:
    with pytest.raises(MalformedBody, match="at most 32 levels"):
        check_structure(text)


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,", b'"":0,', b'"",', b'[]"" '])
def test_too_much(piece: bytes) -> None:
    with pytest.raises(PayloadTooLarge, match="more than 200000"):
        check_structure(b"[" + piece * (MAX_SEPARATORS + 1))


def test_a_crowded_text_is_refused_in_little_more_memory_than_its_own() -> None:
    crowded = b'{"items": [' + b"[]," * 1_000_000 + b"[]]}"
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            check_structure(crowded)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(crowded)
    finally:
        tracemalloc.stop()


JSON = {"content-type": "application/json"}


async def test_bodies_are_checked(client: httpx.AsyncClient) -> None:
    deep = b'{"query": "a", "filter": ' + b'{"not":' * 32 + b"1" + b"}" * 33
    answer = await client.post("/search/text-to-image", content=deep, headers=JSON)
    assert "32 levels" in problem(answer, 400, "malformed_body")["detail"]


async def test_json_in_fields_and_parameters_is_checked(client: httpx.AsyncClient) -> None:
    deep = await client.get("/items/image", params={"filter": "[" * 33})
    assert problem(deep, 422, "validation_failed")["errors"][0]["loc"] == ["filter"]
    long = await client.get("/items/image", params={"filter": '{"a": ' + "9" * 5000 + "}"})
    assert problem(long, 422, "validation_failed")["detail"] == "filter is not valid JSON: a number has too many digits"
    broken = await client.get("/items/image", params={"filter": '{"a" 1}'})
    expected = "filter is not valid JSON: Expecting ':' delimiter at character 5"
    assert problem(broken, 422, "validation_failed")["detail"] == expected
