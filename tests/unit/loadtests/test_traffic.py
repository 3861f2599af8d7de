"""What is asked, and what counts as the right answer."""

import json
from collections import Counter
from io import BytesIO

import pytest
from PIL import Image

from loadtests.traffic import MIXES, SHED, WRITTEN, Asked, Kind, Traffic, bad_requests


@pytest.fixture(scope="module")
def photograph() -> bytes:
    content = BytesIO()
    Image.new("RGB", (64, 48), "red").save(content, "JPEG")
    return content.getvalue()


def test_the_same_seed_asks_the_same() -> None:
    first, second, other = (
        [traffic.next(MIXES["mixed"]).wire for _ in range(50)] for traffic in (Traffic(1), Traffic(1), Traffic(2))
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_kinds_come_in_proportion(mix: str) -> None:
    traffic, weights = Traffic(0), MIXES[mix]
    came = Counter(traffic.next(weights).kind for _ in range(4000))
    assert set(came) == set(weights)
    for kind, weight in weights.items():
        assert came[kind] / 4000 == pytest.approx(weight / sum(weights.values()), abs=0.03)


def test_arrivals_at_random_come_at_the_rate() -> None:
    traffic = Traffic(0)
    gaps = [traffic.gap(50.0) for _ in range(5000)]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert min(gaps) < 0.001
    assert max(gaps) > 0.06


def test_what_is_written_goes_round() -> None:
    traffic = Traffic(0)
    ids = {json.loads(traffic.of(Kind.INDEX_TEXT).body)["items"][0]["id"] for _ in range(WRITTEN + 200)}
    assert len(ids) == WRITTEN
    assert all(each.startswith("loadtest-") for each in ids)


def test_every_bad_request_must_be_refused_with_a_code(photograph: bytes) -> None:
    found = bad_requests(photograph)
    assert {asked.kind for asked in found} == {Kind.BAD}
    assert all(400 <= asked.status < 500 and asked.code for asked in found)
    assert len({(asked.path, asked.body, asked.content_type) for asked in found}) == len(found)


def test_the_wire() -> None:
    assert Asked(Kind.LIST, "POST", "/x", b"{}").wire == (
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (422, b'{"code": "text_too_long"}', None),
        (422, b'{"code": "validation_failed"}', "422 without the code text_too_long"),
        (422, b"[]", "422 without the code text_too_long"),
        (422, b"oh", "422 without the code text_too_long"),
        (200, b"{}", "status 200, not 422"),
        (500, b"", "status 500, not 422"),
        (429, b"", SHED),
    ],
)
def test_the_answer_to_a_bad_request(status: int, body: bytes, fault: str | None) -> None:
    asked = Asked(Kind.BAD, "POST", "/", status=422, code="text_too_long")
    assert asked.fault(status, body) == fault


def test_the_answer_to_a_good_request() -> None:
    asked = Asked(Kind.LIST, "GET", "/")
    assert asked.fault(200, b"anything") is None
    assert asked.fault(503, b"") == "status 503, not 200"
