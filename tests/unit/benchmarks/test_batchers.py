"""The benchmark of batchers: how it reads metrics and sums up."""

import math

import pytest

from benchmarks.batchers import CLIENTS, WAYS, batches_of, medians, percentile, requests_of, table

OURS = """\
# HELP crossmodal_batch_items Items in a batch
crossmodal_batch_items_sum{kind="text",lane="interactive"} 30.0
crossmodal_batch_items_bucket{kind="text",lane="interactive",le="1.0"} 4.0
crossmodal_batch_items_count{kind="text",lane="interactive"} 10.0
crossmodal_batch_items_sum{kind="image",lane="bulk"} 12.0
crossmodal_batch_items_count{kind="image",lane="bulk"} 2.0
crossmodal_batch_seconds_count{kind="image",lane="bulk"} 2.0
"""
BENTOML = """\
bentoml_service_adaptive_batch_size_sum{method_name="embed_texts",runner_name="Encoder"} 64.0
bentoml_service_adaptive_batch_size_count{method_name="embed_texts",runner_name="Encoder"} 8.0
"""


def test_batches_are_counted_of_both_batchers() -> None:
    assert batches_of(OURS) == (12.0, 42.0)
    assert batches_of(BENTOML) == (8.0, 64.0)
    assert batches_of("") == (0.0, 0.0)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0)])
def test_percentiles(share: float, value: float) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], share) == value


def test_the_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 0.5))


def test_medians_of_rounds_stand_in_a_table() -> None:
    found = medians({"ours": [{"lone": 1.0}, {"lone": 3.0}, {"lone": 100.0}], "theirs": [{"lone": 7.0}]})
    assert found == {"ours": {"lone": 3.0}, "theirs": {"lone": 7.0}}
    assert [line.split() for line in table(found).splitlines()] == [["ours", "theirs"], ["lone", "3.0", "7.0"]]


def test_requests_hold_one_item_each() -> None:
    texts, images = requests_of("texts"), requests_of("images")
    assert texts[0].startswith(b"POST /embed/texts HTTP/1.1\r\n")
    assert all(request.count(b'"texts": ["') == 1 for request in texts)
    assert images[0].startswith(b"POST /embed/images HTTP/1.1\r\n")
    assert all(request.count(b'name="files"') == 1 for request in images)


def test_every_way_and_the_promised_loads_are_measured() -> None:
    assert [(way["ENCODER"], way.get("BATCHER")) for way in WAYS.values()] == [
        ("local", None),
        ("service", "ours"),
        ("service", "bentoml"),
    ]
    assert (CLIENTS[0], CLIENTS[-1]) == (1, 128)
