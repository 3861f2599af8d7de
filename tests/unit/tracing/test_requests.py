"""The spans of requests, through the whole service in this process: which there are, and what they must not hold."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import Receive, Scope, Send

from crossmodal import tracing
from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits, create_app
from crossmodal.api.foreign import Inside
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.settings import Settings
from crossmodal.telemetry import configure_logging
from crossmodal.wiring import build_container
from tests.fakes import ColourModel
from tests.spans import OUTER, Recorded, identity, recording
from tests.unit.api.helpers import picture, problem, upload

SEARCH = "POST /search/text-to-image"
SECRET = "an-outrageously-secret-query"  # noqa: S105 -- what must not be in a span


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture
async def client(model: ColourModel, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(store="memory:", data=tmp_path)
    container = build_container(settings, LocalEncoder(model, BatchLimits(images=4, texts=8, queued=64)))
    await container.open()
    app = create_app()
    app.state.container = container
    edge = EdgeMiddleware(Inside(app), traffic=Traffic(TrafficLimits()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://test") as client:
        yield client
    await container.close()


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with recording() as recorded:
        yield recorded


async def search(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    answer = await client.post("/search/text-to-image", json={"query": SECRET}, headers=headers)
    assert answer.status_code == 200
    return answer


async def test_a_search_is_a_tree_of_its_stages(client: httpx.AsyncClient, recorded: Recorded) -> None:
    answer = await search(client)
    assert recorded.below(SEARCH) == ["queue", "embed", "store"]
    assert recorded.below("store") == ["store search"]
    root = recorded.named(SEARCH)
    assert (root.parent, root.kind, root.status.status_code) == (None, SpanKind.SERVER, StatusCode.UNSET)
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/search/text-to-image",
        "http.response.status_code": 200,
        "crossmodal.request_id": answer.headers["x-request-id"],
        "crossmodal.items": 1,
        "crossmodal.cache_hits": 0,
        "crossmodal.cache_misses": 1,
    }
    assert recorded.named("embed").attributes == {
        "crossmodal.kind": "text",
        "crossmodal.lane": "interactive",
        "crossmodal.items": 1,
        "crossmodal.model": "colours",
    }
    assert recorded.named("store search").attributes == {
        "db.system.name": "memory",
        "db.operation.name": "search",
        "crossmodal.items": 5,
    }
    for inner in recorded.all():
        assert (root.start_time or 0) <= (inner.start_time or 0) <= (inner.end_time or 0) <= (root.end_time or 0)


async def test_a_batch_is_a_trace_of_its_own_linked_to_its_requests(
    client: httpx.AsyncClient, recorded: Recorded, model: ColourModel
) -> None:
    model.release.clear()
    first = asyncio.create_task(client.post("/embed/texts", json={"texts": ["a"]}))
    await asyncio.to_thread(model.started.wait, 10)
    others = [asyncio.create_task(client.post("/embed/texts", json={"texts": [text, "x"]})) for text in ("b", "c")]
    await asyncio.sleep(0.05)
    model.release.set()
    await asyncio.gather(first, *others)
    (batch,) = [span for span in recorded.all() if span.name == "batch of texts" and len(span.links) > 1]
    requests = [span for span in recorded.all() if span.name == "POST /embed/texts"]
    assert batch.parent is None
    assert batch.attributes == {"crossmodal.kind": "text", "crossmodal.lane": "interactive", "crossmodal.items": 3}
    assert {link.context.span_id for link in batch.links} == set(map(identity, requests)) - {
        link.context.span_id
        for span in recorded.all()
        if span.name == "batch of texts" and len(span.links) == 1
        for link in span.links
    }


async def test_what_is_found_in_the_cache_says_so(client: httpx.AsyncClient, recorded: Recorded) -> None:
    await search(client)
    await search(client)
    again = recorded.all()[-1]
    assert again.name == SEARCH
    assert again.attributes is not None
    assert (again.attributes["crossmodal.cache_hits"], again.attributes["crossmodal.cache_misses"]) == (1, 0)


async def test_a_picture_is_decoded_and_an_index_run_written(client: httpx.AsyncClient, recorded: Recorded) -> None:
    answer = await client.post("/index/images", files=upload(picture("red"), picture("blue")))
    assert answer.json()["indexed"] == 2
    stages = recorded.below("POST /index/images")
    assert stages.count("decode") == 2
    assert {"queue", "embed", "store"} <= set(stages)
    root = recorded.named("POST /index/images").attributes
    assert root is not None
    assert root["crossmodal.items"] == 2
    upsert = recorded.named("store upsert").attributes
    assert upsert is not None
    assert upsert["crossmodal.items"] == 2


async def test_no_text_id_metadata_or_message_is_in_any_span(
    client: httpx.AsyncClient, recorded: Recorded, model: ColourModel
) -> None:
    items = [{"text": SECRET, "id": f"id-{SECRET}", "metadata": {SECRET: SECRET}}]
    assert (await client.post("/index/texts", json={"items": items})).json()["indexed"] == 1
    await client.post("/search/text-to-image?x=" + SECRET, json={"query": SECRET, "filter": {SECRET: SECRET}})
    await client.get(f"/items/text/id-{SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
    await client.get("/items/text", params={"filter": json.dumps({SECRET: SECRET})})
    await client.get(f"/no/{SECRET}")
    await client.request(SECRET, "/stats")
    model.broken = True
    await client.post("/search/text-to-image", json={"query": f"{SECRET} too"})
    sent = recorded.text()
    assert "GET /items/{modality}/{item_id}" in sent
    assert "/srv/model" not in sent
    assert SECRET not in sent


async def test_a_trace_goes_on_from_the_caller(client: httpx.AsyncClient, recorded: Recorded) -> None:
    await search(client, traceparent=OUTER, tracestate="vendor=1")
    root = recorded.named(SEARCH)
    assert root.context is not None
    assert root.parent is not None
    assert f"{root.context.trace_id:032x}" == OUTER.split("-")[1]
    assert (f"{root.parent.span_id:016x}", root.parent.is_remote) == (OUTER.split("-")[2], True)


@pytest.mark.parametrize("bad", ["", "00-0-0-01", "zz", OUTER.replace("b7ad6b7169203331", "0" * 16), "ä" * 55])
async def test_a_trace_that_is_none_is_not_gone_on_with(
    client: httpx.AsyncClient, recorded: Recorded, bad: str
) -> None:
    await client.get("/stats", headers=[(b"traceparent", bad.encode())])
    assert recorded.named("GET /stats").parent is None


async def test_who_says_that_it_is_not_recorded_is_heeded(client: httpx.AsyncClient, recorded: Recorded) -> None:
    await search(client, traceparent=OUTER[:-1] + "0")
    assert recorded.all() == ()


async def test_probes_and_metrics_are_no_requests(client: httpx.AsyncClient, recorded: Recorded) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/metrics"):
        await client.get(path)
    assert recorded.all() == ()


async def test_faults_are_marked_the_callers_by_their_code_ours_as_errors(
    client: httpx.AsyncClient, recorded: Recorded, model: ColourModel
) -> None:
    problem(await client.get("/items/text/nobody"), 404, "not_found")
    model.broken = True
    problem(await client.post("/search/text-to-image", json={"query": "red"}), 500, "internal_error")
    theirs, ours = recorded.named("GET /items/{modality}/{item_id}"), recorded.named(SEARCH)
    assert theirs.attributes is not None
    assert ours.attributes is not None
    assert (theirs.attributes["error.type"], theirs.status.status_code) == ("not_found", StatusCode.UNSET)
    assert (ours.attributes["error.type"], ours.status.status_code) == ("internal_error", StatusCode.ERROR)
    assert (ours.events, ours.status.description) == ((), None)


async def test_a_request_given_up_is_not_a_fault(recorded: Recorded) -> None:
    async def waits(_scope: Scope, _receive: Receive, _send: Send) -> None:
        with tracing.span("waiting"):
            await asyncio.Event().wait()

    edge = EdgeMiddleware(waits, traffic=Traffic(TrafficLimits()))
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    left = asyncio.Event()

    async def receive() -> dict[str, str]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(_: object) -> None:
        return

    task = asyncio.create_task(edge(scope, receive, send))
    await asyncio.sleep(0.05)
    left.set()
    await task
    waiting, root = recorded.named("waiting"), recorded.named("GET")
    assert waiting.attributes == {"error.type": "cancelled"}
    assert root.attributes is not None
    assert root.attributes["http.response.status_code"] == 499
    assert {waiting.status.status_code, root.status.status_code} == {StatusCode.UNSET}


async def test_log_lines_of_a_request_say_its_trace(
    client: httpx.AsyncClient, recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()
    await search(client, traceparent=OUTER)
    await search(client, traceparent=OUTER[:-1] + "0")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["trace_id"] == OUTER.split("-")[1]
    assert "trace_id" not in second
    assert recorded.named(SEARCH).parent is not None


async def test_nothing_is_recorded_unless_it_is_switched_on(client: httpx.AsyncClient) -> None:
    with recording() as recorded:
        pass
    await search(client)
    assert recorded.all() == ()
    assert tracing.span("x") is tracing.request("GET", []) is tracing.NOTHING
    assert (tracing.trace_id(), tracing.here(), tracing.carried()) == (None, None, [])
