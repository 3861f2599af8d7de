"""Traces of real servers, taken by a stand-in for a collector, in each way to reach a model."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.collector import ERROR, Collector, Tree, collecting
from tests.e2e.conftest import SAMPLES
from tools.servers import ENTRY, Server

pytestmark = pytest.mark.e2e

API, ENCODER = "crossmodal-api", "crossmodal-encoder"
TRACE = "0af7651916cd43dd8448eb211c80319{:x}"
CALLER = "b7ad6b7169203331"
PRIVATE = "zebra-of-a-client"
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
"""Spans are sent after so many milliseconds."""
SEARCH = "POST /search/text-to-image"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def ask(server: Server, trace: int, path: str, **content: object) -> httpx.Response:
    """Ask as a part of a trace of one's own."""
    headers = {"traceparent": f"00-{TRACE.format(trace)}-{CALLER}-01"}
    return httpx.post(f"{server.url}{path}", headers=headers, timeout=60, **content)  # type: ignore[arg-type]


def tree(collector: Collector, trace: int, *services: str) -> Tree:
    """The trace, once the request's span has come, and those of the requests to other ``services``; they end last."""
    number = TRACE.format(trace)
    for service in (API, *services):
        collector.wait_for(
            lambda spans, service=service: any(  # type: ignore[misc]  # bound now
                (span.trace, span.service) == (number, service) and "http.request.method" in span.attributes
                for span in spans
            )
        )
    return collector.of(number)


def check_private(collector: Collector, *secrets: bytes) -> None:
    """Check that nothing of what a client sent has come."""
    assert collector.raw
    for secret in (PRIVATE.encode(), *secrets):
        assert secret not in collector.raw


def test_a_request_is_one_tree_and_a_collector_that_goes_is_missed_by_nobody(
    collector: Collector, tmp_path: Path
) -> None:
    server = Server(tmp_path, ENTRY, QUICKLY, OTLP_ENDPOINT=collector.url)
    try:
        server.wait_until_ready()
        items = {"items": [{"text": "a dog", "id": PRIVATE, "metadata": {PRIVATE: PRIVATE}}]}
        assert ask(server, 1, "/index/texts", json=items).json()["indexed"] == 1
        query = {"query": PRIVATE, "filter": {PRIVATE: PRIVATE}}
        assert ask(server, 2, f"/search/text-to-image?q={PRIVATE}", json=query).is_success
        picture = min(SAMPLES.glob("images/*.webp")).read_bytes()
        assert ask(server, 3, "/search/image-to-text", files={"file": (PRIVATE, picture)}).is_success
        assert ask(server, 4, f"/search/{PRIVATE}").status_code == 404
        check_the_trees(collector)
        check_private(collector, picture[:64])
        lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
        assert [line["trace_id"] for line in lines if line["event"] == "request"] == [
            TRACE.format(number) for number in (1, 2, 3, 4)
        ]
        before = ask(server, 5, "/search/text-to-image", json={"query": "a cat"}).json()
        collector.close()
        for _ in range(30):
            assert ask(server, 6, "/search/text-to-image", json={"query": "a cat"}).json() == before
            time.sleep(0.02)
        deadline = time.monotonic() + 10
        while "spans cannot be sent" not in server.log:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        server.stop()
    assert server.process.returncode == 0
    (said,) = [json.loads(line) for line in server.log.splitlines() if "spans cannot be sent" in line]
    assert "refused" in said["cause"]
    assert "Traceback" not in server.log


def check_the_trees(collector: Collector) -> None:
    indexed, searched, seen, lost = (tree(collector, number) for number in (1, 2, 3, 4))
    root = indexed.named("POST /index/texts")
    assert [name for _, name in indexed.below(root)] == ["store", "queue", "embed", "store"]
    assert root.attributes["crossmodal.items"] == 1
    assert indexed.named("store upsert").attributes == {
        "db.system.name": "edge",
        "db.operation.name": "upsert",
        "crossmodal.items": 1,
    }
    root = searched.named(SEARCH)
    assert [name for _, name in searched.below(root)] == ["queue", "embed", "store"]
    assert [name for _, name in searched.below(searched.named("store"))] == ["store search"]
    assert set(root.attributes) == {
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "crossmodal.request_id",
        "crossmodal.items",
        "crossmodal.cache_hits",
        "crossmodal.cache_misses",
    }
    assert searched.named("embed").attributes["crossmodal.model"] == "tiny"
    root = seen.named("POST /search/image-to-text")
    assert [name for _, name in seen.below(root)] == ["decode", "queue", "embed", "store"]
    assert lost.named("POST").attributes["error.type"] == "not_found"
    batches = [span for span in collector.spans if span.name.startswith("batch of ")]
    roots = {
        indexed.named("POST /index/texts").id,
        searched.named(SEARCH).id,
        seen.named("POST /search/image-to-text").id,
    }
    assert {link for batch in batches for link in batch.links} == roots
    assert {(batch.parent, batch.service) for batch in batches} == {("", API)}
    assert ERROR not in {span.status for span in collector.spans}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["service", "url"])
def test_a_trace_goes_on_in_the_process_of_the_encoder(
    collector: Collector, tmp_path: Path, *, elsewhere: bool
) -> None:
    with ExitStack() as running:
        url = {}
        if elsewhere:
            encoder = Server(
                tmp_path / "encoder", "service:Encoder", QUICKLY, OTLP_ENDPOINT=collector.url, STORE="memory:"
            )
            running.callback(encoder.stop)
            url = {"ENCODER_URL": encoder.url}
        api = Server(
            tmp_path / "api", ENTRY, QUICKLY, ENCODER="service", STORE="memory:", OTLP_ENDPOINT=collector.url, **url
        )
        running.callback(api.stop)
        api.wait_until_ready()
        assert ask(api, 1, "/search/text-to-image", json={"query": PRIVATE}).is_success
        picture = min(SAMPLES.glob("images/*.webp")).read_bytes()
        assert ask(api, 2, "/embed/images", files={"files": (PRIVATE, picture)}).is_success
        for trace, route, method in ((1, SEARCH, "embed_texts"), (2, "POST /embed/images", "embed_pixels")):
            spans = tree(collector, trace, ENCODER)
            root = spans.named(route)
            call = spans.named("embed")
            served = spans.named(method, ENCODER)
            assert (call.parent, served.parent) == (root.id, call.id)
            assert spans.below(served) == [(ENCODER, "queue"), (ENCODER, "embed")]
            assert served.attributes == {"http.request.method": "POST", "http.response.status_code": 200}
            assert root.began <= call.began <= served.began <= root.ended
            (batch,) = [span for span in collector.spans if served.id in span.links]
            assert (batch.service, batch.parent) == (ENCODER, "")
        assert {span.name for span in collector.spans} >= {"batch of texts", "batch of images"}
        assert "GET" not in " ".join(span.name for span in collector.spans), "signs of life and probes make none"
        check_private(collector, picture[:64])
