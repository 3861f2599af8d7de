"""What the rules and the dashboard of deploy/ ask for, asked of a real server's `/metrics`."""

import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from crossmodal.errors import Shed
from tests.kustomize import build
from tests.promql import SCALING, asked, selectors
from tools.servers import Server

pytestmark = pytest.mark.e2e

TARGET_LABELS = {"job", "namespace", "pod"}


def test_every_series_of_rules_and_dashboard_is_shown_after_some_traffic(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(2):
            assert client.post("/search/text-to-image", json={"query": "a dog on a blue background"}).is_success
        assert client.post("/index/texts", json={"items": [{"id": "watched", "text": "a cat"}]}).is_success
        assert client.get("/items/text/nobody").status_code == 404
        assert client.get("/readyz").is_success
        exposition = client.get("/metrics").text
        assert client.delete("/items/text/watched").is_success
    samples = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
    labels = {sample.name: set(sample.labels) for sample in samples}
    values = {(sample.name, name, value) for sample in samples for name, value in sample.labels.items()}
    wanted = asked()
    assert len(wanted) > 40
    for selector in wanted:
        assert selector.name in labels
        for matcher in selector.matchers.matchers:
            if matcher.name in TARGET_LABELS:
                continue
            assert matcher.name in labels[selector.name]
            if matcher.name in {"le", "stage", "lane", "outcome", "work", "operation", "reason"}:
                assert (selector.name, matcher.name, matcher.value) in values
    ready = next(sample.value for sample in samples if sample.name == "crossmodal_ready")
    in_flight = next(sample.value for sample in samples if sample.name == "crossmodal_requests_in_flight")
    model = next(sample.labels for sample in samples if sample.name == "crossmodal_model_info")
    seen = {(sample.name, *sample.labels.values()): sample.value for sample in samples if len(sample.labels) == 1}
    assert {label for name, label in seen if name == "crossmodal_shed_total"} == set(Shed)
    assert seen["crossmodal_store_seconds_count", "search"] >= 2
    assert seen["crossmodal_store_seconds_count", "upsert"] >= 1
    assert seen["crossmodal_store_failures_total", "search"] == 0
    assert ready == 1
    assert in_flight == 0  # asking for /metrics is no work
    assert model["model"] == "tiny"
    assert re.fullmatch(r"[0-9a-f]+", model["fingerprint"])


def test_an_encoder_alone_shows_by_what_it_is_scaled(tmp_path: Path) -> None:
    encoder = Server(tmp_path, "service:Encoder", STORE="memory:")
    try:
        encoder.wait_until_ready()
        with httpx.Client(base_url=encoder.url, timeout=60) as client:
            assert client.get("/livez").is_success
            assert client.post("/embed_texts", json={"texts": ["a dog", "a cat"]}).is_success
            exposition = client.get("/metrics").text
    finally:
        encoder.stop()
    assert encoder.process.returncode == 0
    samples = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
    shown = {(sample.name, sample.labels.get("lane")): sample.value for sample in samples}
    (scaled,) = build(SCALING / "keda-encoder")
    (in_flight,) = selectors(scaled["spec"]["triggers"][0]["metadata"]["query"])
    assert 0 < shown[in_flight.name or "", None] < 2 * 60  # seconds, of two items
    assert shown["crossmodal_batch_items_sum", "interactive"] == 2


def test_no_path_that_a_client_makes_up_becomes_a_series(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for path in (
            "/forged/path",
            "/items/text/forged-path",
            "/images/forged-path",
            "/search/forged-path",
            "/..%2fforged-path",
        ):
            assert client.get(path).status_code in {404, 405}
        exposition = client.get("/metrics").text
    assert "forged" not in exposition
    paths = {
        sample.labels["endpoint"]
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if "endpoint" in sample.labels
    }
    assert {"/unknown", "/items", "/images"} <= paths
