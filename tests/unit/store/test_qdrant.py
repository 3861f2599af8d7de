"""The server's adapter when the server, the network or the settings fail."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
import qdrant_client
from pydantic import TypeAdapter, ValidationError
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.async_qdrant_remote import AsyncQdrantRemote
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from crossmodal.errors import ConfigurationError, ServerError, StoreUnavailable
from crossmodal.store import qdrant_faults
from crossmodal.store.qdrant import QdrantStore
from crossmodal.store.qdrant_connection import connect, parse_url
from tests.contract.fake_server import FakeServer, Fault
from tests.contract.material import IMAGES, SETTINGS, SPEC, STATISTICS, axis, point, points

SECRET = "sk-secret at http://internal.host:6333/data/path"  # noqa: S105 -- what must not be shown
NO_ANSWER = "the vector store does not answer"
BUSY = "the vector store is overloaded"
GONE = "a collection is gone from the vector store; restart the service to make it anew"
KEY = "the vector store refused the key; set CROSSMODAL_STORE_API_KEY"
GARBLED = "the vector store gave an answer that cannot be read"
REFUSED = "the vector store refused a request; its version or settings do not fit this service"
NO_URL = "CROSSMODAL_STORE is not the URL of a Qdrant server"

pytestmark = pytest.mark.filterwarnings("ignore:.*no effect")


def status(code: int) -> UnexpectedResponse:
    return UnexpectedResponse(code, "reason", SECRET.encode(), httpx.Headers())


def rpc(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=SECRET)


def invalid() -> ValidationError:
    try:
        TypeAdapter(int).validate_python(SECRET)
    except ValidationError as error:
        return error
    raise AssertionError


def undecodable() -> json.JSONDecodeError:
    return json.JSONDecodeError(SECRET, "doc", 0)


CODE = grpc.StatusCode


async def test_only_a_search_that_asks_to_be_exact_passes_by_the_graph() -> None:
    server = FakeServer()
    store = QdrantStore(server.connect)
    await store.open(SPEC)
    await store.search(IMAGES, axis(0), limit=1)
    await store.search(IMAGES, axis(0), limit=1, exact=True)
    await store.close()
    usual, exact = server.params
    assert usual is not None
    assert exact is not None
    assert (usual.exact, exact.exact) == (False, True)
    assert usual.quantization == models.QuantizationSearchParams(rescore=True, oversampling=2.0)
    assert exact.quantization == models.QuantizationSearchParams(ignore=True)


@pytest.mark.parametrize(
    ("foreign", "kind", "detail", "passes"),
    [
        (status(400), ConfigurationError, f"{REFUSED} (status 400)", False),
        (status(401), ConfigurationError, KEY, False),
        (status(403), ConfigurationError, KEY, False),
        (status(404), StoreUnavailable, GONE, False),
        (status(408), StoreUnavailable, NO_ANSWER, True),
        (status(422), ConfigurationError, f"{REFUSED} (status 422)", False),
        (status(429), StoreUnavailable, BUSY, True),
        (status(500), StoreUnavailable, NO_ANSWER, True),
        (status(502), StoreUnavailable, NO_ANSWER, True),
        (status(503), StoreUnavailable, NO_ANSWER, True),
        (status(507), StoreUnavailable, NO_ANSWER, False),
        (ResourceExhaustedResponse(SECRET, 1), StoreUnavailable, BUSY, True),
        (QdrantException(SECRET), StoreUnavailable, NO_ANSWER, False),
        (ApiException(SECRET), StoreUnavailable, NO_ANSWER, False),
        (ResponseHandlingException(httpx.ConnectError(SECRET)), StoreUnavailable, NO_ANSWER, True),
        (ResponseHandlingException(httpx.ReadTimeout(SECRET)), StoreUnavailable, NO_ANSWER, True),
        (ResponseHandlingException(httpx.RemoteProtocolError(SECRET)), StoreUnavailable, NO_ANSWER, True),
        (ResponseHandlingException(httpx.UnsupportedProtocol(SECRET)), ConfigurationError, NO_URL, False),
        (ResponseHandlingException(httpx.InvalidURL(SECRET)), ConfigurationError, NO_URL, False),
        (ResponseHandlingException(ssl.SSLError(SECRET)), StoreUnavailable, NO_ANSWER, False),
        (ResponseHandlingException(invalid()), StoreUnavailable, GARBLED, False),
        (httpx.ConnectError(SECRET), StoreUnavailable, NO_ANSWER, False),
        (undecodable(), StoreUnavailable, GARBLED, False),
        (ValueError(SECRET), StoreUnavailable, GARBLED, False),
        (RuntimeError(SECRET), StoreUnavailable, NO_ANSWER, False),
        (AssertionError(SECRET), StoreUnavailable, NO_ANSWER, False),
        (TimeoutError(SECRET), StoreUnavailable, NO_ANSWER, False),
        (ConnectionRefusedError(SECRET), StoreUnavailable, NO_ANSWER, False),
        (rpc(CODE.UNAVAILABLE), StoreUnavailable, NO_ANSWER, True),
        (rpc(CODE.DEADLINE_EXCEEDED), StoreUnavailable, NO_ANSWER, True),
        (rpc(CODE.RESOURCE_EXHAUSTED), StoreUnavailable, BUSY, True),
        (rpc(CODE.INTERNAL), StoreUnavailable, NO_ANSWER, False),
        (rpc(CODE.NOT_FOUND), StoreUnavailable, GONE, False),
        (rpc(CODE.UNAUTHENTICATED), ConfigurationError, KEY, False),
        (rpc(CODE.PERMISSION_DENIED), ConfigurationError, KEY, False),
        (rpc(CODE.INVALID_ARGUMENT), ConfigurationError, f"{REFUSED} (status INVALID_ARGUMENT)", False),
        (grpc.RpcError(SECRET), StoreUnavailable, NO_ANSWER, False),
    ],
)
def test_foreign_exceptions_become_our_own(
    foreign: Exception, kind: type[ServerError], detail: str, *, passes: bool
) -> None:
    with pytest.raises(kind) as own, qdrant_faults.mapped():
        raise foreign
    assert own.value.detail == detail
    assert own.value.__cause__ is foreign
    assert qdrant_faults.passes(foreign) is passes


def test_other_exceptions_are_bugs_and_stay() -> None:
    for bug in (TypeError, KeyError, asyncio.CancelledError, KeyboardInterrupt):
        with pytest.raises(bug), qdrant_faults.mapped():
            raise bug


def test_every_exception_class_of_the_client_is_known() -> None:
    """Fails when the client gains an exception: add it to ``qdrant_faults.FOREIGN`` and here."""
    root = Path(qdrant_client.__file__).parent
    bases = {"Exception", "BaseException"}
    declared = re.compile(r"^class (\w+)\(([^)]*)\)", re.MULTILINE)
    classes = [entry for path in root.rglob("*.py") for entry in declared.findall(path.read_text(encoding="utf-8"))]
    found: set[str] = set()
    while new := {
        name
        for name, parents in classes
        if name not in found
        and any(part.strip() in bases or part.strip().endswith("Error") for part in parents.split(","))
    }:
        found |= new
        bases |= new
    known = [ApiException, UnexpectedResponse, ResponseHandlingException, QdrantException, ResourceExhaustedResponse]
    assert found == {error.__name__ for error in known}
    assert all(issubclass(error, qdrant_faults.FOREIGN) for error in known)


@pytest.fixture
async def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def store(server: FakeServer) -> AsyncIterator[QdrantStore]:
    made = QdrantStore(server.connect)
    await made.open(SPEC)
    yield made
    await made.close()


def answer(code: int, **options: Any) -> Fault:
    return lambda _: httpx.Response(code, **options)


def fail(error: type[httpx.TransportError]) -> Fault:
    def raise_it(request: httpx.Request) -> httpx.Response:
        raise error(SECRET, request=request)

    return raise_it


async def test_faults_that_pass_are_not_seen(server: FakeServer, store: QdrantStore) -> None:
    server.faults.extend([answer(503), fail(httpx.ConnectError), fail(httpx.ReadTimeout)])
    await store.upsert(IMAGES, [point("one", axis(0))])
    server.faults.append(answer(429, headers={"Retry-After": "0"}))
    [hit] = await store.search(IMAGES, axis(0), limit=1)
    assert hit.item.id == "one"
    assert not server.faults


async def test_a_server_that_stays_away_is_given_up(server: FakeServer, store: QdrantStore) -> None:
    server.faults.extend([fail(httpx.ConnectTimeout)] * 20)
    server.requests.clear()
    with pytest.raises(StoreUnavailable) as unavailable:
        await store.count(IMAGES)
    assert unavailable.value.detail == NO_ANSWER
    assert len(server.requests) == qdrant_faults.ATTEMPTS


async def test_a_long_wait_is_not_waited_for(server: FakeServer, store: QdrantStore) -> None:
    server.faults.append(answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(StoreUnavailable) as unavailable:
        await store.count(IMAGES)
    assert unavailable.value.detail == BUSY


async def test_refusals_are_not_tried_again(server: FakeServer, store: QdrantStore) -> None:
    server.requests.clear()
    server.faults.append(answer(401, text=SECRET))
    with pytest.raises(ConfigurationError, match="refused the key"):
        await store.count(IMAGES)
    assert len(server.requests) == 1


@pytest.mark.parametrize("garbage", [b"", b"<html>", b"\xff\xfe", b"[]", b'{"result": {"count": "many"}}', b"null"])
async def test_answers_that_are_not_qdrants(server: FakeServer, store: QdrantStore, garbage: bytes) -> None:
    server.faults.append(answer(200, content=garbage))
    with pytest.raises(StoreUnavailable) as unavailable:
        await store.count(IMAGES)
    assert unavailable.value.detail == GARBLED


async def test_an_answer_without_a_result(server: FakeServer, store: QdrantStore) -> None:
    server.faults.append(answer(200, json={"status": "ok", "time": 0.0}))
    with pytest.raises(StoreUnavailable):
        await store.count(IMAGES)


@pytest.mark.parametrize("unapplied", [models.UpdateStatus.WAIT_TIMEOUT, models.UpdateStatus.ACKNOWLEDGED])
async def test_a_write_that_is_not_applied_is_no_success(
    server: FakeServer, store: QdrantStore, unapplied: models.UpdateStatus
) -> None:
    server.update_status = unapplied
    with pytest.raises(StoreUnavailable, match="did not apply it in time"):
        await store.upsert(IMAGES, [point("one", axis(0))])
    with pytest.raises(StoreUnavailable, match="did not apply it in time"):
        await store.delete(IMAGES, ["one"])


async def test_a_hung_call_ends_within_its_budget() -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    with pytest.raises(StoreUnavailable) as unavailable:
        await qdrant_faults.call(hang, budget_s=0.05)
    assert unavailable.value.detail == NO_ANSWER
    assert isinstance(unavailable.value.__cause__, TimeoutError)


async def test_ping_asks_once_and_wants_the_collections(server: FakeServer, store: QdrantStore) -> None:
    await store.ping()
    server.requests.clear()
    server.faults.append(answer(503))
    with pytest.raises(StoreUnavailable):
        await store.ping()
    assert len(server.requests) == 1
    client = server.connect()
    server.faults.append(answer(200, json={"result": {"exists": False}, "status": "ok", "time": 0.0}))
    with pytest.raises(StoreUnavailable, match="a collection is gone"):
        await store.ping()
    await client.close()


async def test_statistics_are_seen_by_the_next_process_that_opens(server: FakeServer) -> None:
    first, second = QdrantStore(server.connect), QdrantStore(server.connect)
    await first.open(SPEC)
    await first.keep_statistics(STATISTICS)
    await second.open(SPEC)  # whose check of the model would fail had the note been lost
    assert second.statistics == STATISTICS
    await first.close()
    await second.close()


async def test_two_processes_may_open_at_once(server: FakeServer) -> None:
    stores = [QdrantStore(server.connect) for _ in range(4)]
    await asyncio.gather(*(store.open(SPEC) for store in stores))
    await stores[0].upsert(IMAGES, points(3))
    assert [await store.count(IMAGES) for store in stores] == [3] * 4
    for store in stores:
        await store.close()


async def test_a_failed_opening_can_be_repeated(server: FakeServer) -> None:
    store = QdrantStore(server.connect)
    server.faults.extend([answer(401)])
    with pytest.raises(ConfigurationError):
        await store.open(SPEC)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.ping()
    await store.open(SPEC)
    await store.ping()
    await store.close()


async def test_a_creation_that_fails_says_why(server: FakeServer) -> None:
    store = QdrantStore(server.connect)
    absent = answer(200, json={"result": {"exists": False}, "status": "ok", "time": 0.0})
    server.faults.extend([absent, answer(400), absent])
    with pytest.raises(ConfigurationError, match="status 400"):
        await store.open(SPEC)


async def test_a_collection_of_another_program_is_refused() -> None:
    client = AsyncQdrantClient(":memory:")
    vectors = models.VectorParams(size=8, distance=models.Distance.COSINE)
    await client.create_collection("mine_images", vectors)
    with pytest.raises(ConfigurationError, match="another program's"):
        await QdrantStore(lambda: client, prefix="mine").open(SPEC)


async def test_names_and_settings_of_the_collections(server: FakeServer, store: QdrantStore) -> None:
    await store.upsert(IMAGES, [point("one", axis(0), {"n": 1, "t": "x", "p q": 0.5})])
    paths = [path for method, path in server.requests if method == "PUT"]
    assert paths == [
        "/collections/crossmodal_images",
        *["/collections/crossmodal_images/index"] * 3,
        "/collections/crossmodal_texts",
        *["/collections/crossmodal_texts/index"] * 3,
        *["/collections/crossmodal_images/index"] * 2,  # of the numbers n and p q, before the points
        "/collections/crossmodal_images/points",
    ]
    client = server.connect()
    info = await client.get_collection("crossmodal_images")
    noted = {"layout": 2, "dim": 8, "fingerprint": "tiny-model:0123", "settings": SETTINGS}
    assert info.config.metadata == noted
    await client.close()


async def test_the_tenant_is_indexed_as_such(server: FakeServer, store: QdrantStore) -> None:
    keyword = {"type": "keyword"}
    for name in ("crossmodal_images", "crossmodal_texts"):
        made = {field: schema for collection, field, schema in server.indexes if collection == name}
        assert made == {"tenant": keyword | {"is_tenant": True}, "content_hash": keyword, "terms": keyword}
    await store.ping()


async def test_a_collection_that_lacks_an_index_gets_it_when_it_is_opened(server: FakeServer) -> None:
    client = server.connect()
    vectors = models.VectorParams(size=8, distance=models.Distance.COSINE)
    note = {"layout": 2, "dim": SPEC.dim, "fingerprint": SPEC.fingerprint}
    for name in ("mine_images", "mine_texts"):
        await client.create_collection(name, vectors, metadata=note)
    info = (await client.get_collection("mine_images")).model_dump(mode="json")
    indexed = {"data_type": "keyword", "points": 0}
    info["payload_schema"] = {"terms": indexed, "content_hash": indexed}
    there = answer(200, json={"result": {"exists": True}, "status": "ok", "time": 0.0})
    server.faults.extend([there, answer(200, json={"result": info, "status": "ok", "time": 0.0})])
    store = QdrantStore(server.connect, prefix="mine")
    await store.open(SPEC)
    assert [field for name, field, _ in server.indexes if name == "mine_images"] == ["tenant"]
    await store.close()
    await client.close()


@pytest.mark.parametrize("layout", [{}, {"layout": 1}, {"layout": 3}])
async def test_collections_of_another_layout_are_refused(layout: dict[str, int]) -> None:
    client = AsyncQdrantClient(":memory:")
    vectors = models.VectorParams(size=8, distance=models.Distance.COSINE)
    note = {"dim": SPEC.dim, "fingerprint": SPEC.fingerprint} | layout
    await client.create_collection("mine_images", vectors, metadata=note)
    with pytest.raises(ConfigurationError, match="none of their items would be found; index into another server"):
        await QdrantStore(lambda: client, prefix="mine").open(SPEC)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://host:6333", {"url": "http://host:6333"}),
        ("https://host/prefix", {"url": "https://host/prefix"}),
        ("grpc://host:7000", {"host": "host", "grpc_port": 7000, "prefer_grpc": True, "https": False}),
        ("grpc://host", {"host": "host", "grpc_port": 6334, "prefer_grpc": True, "https": False}),
        ("grpcs://host", {"host": "host", "grpc_port": 6334, "prefer_grpc": True, "https": True}),
    ],
)
def test_urls(url: str, options: dict[str, Any]) -> None:
    assert parse_url(url) == options


@pytest.mark.parametrize(
    "url", ["", "host:6333", "ftp://host", "http://", "http://host:port", "http://[::1", "http://key@host:6333"]
)
def test_urls_that_name_no_server(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        QdrantStore(url)
    assert "CROSSMODAL_STORE" in refused.value.detail or "a Qdrant server is written" in refused.value.detail
    assert "key@" not in refused.value.detail


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
async def test_nobody_listens(url: str) -> None:
    store = QdrantStore(url)
    with pytest.raises(StoreUnavailable) as unavailable:
        await store.open(SPEC)
    assert unavailable.value.detail == NO_ANSWER


async def test_the_client_waits_ten_seconds_at_most_and_sends_the_key() -> None:
    client = connect(**parse_url("https://host:6333"), api_key="key")
    remote = client._client
    assert isinstance(remote, AsyncQdrantRemote)
    assert remote._timeout == 10
    assert remote._rest_headers["api-key"] == "key"
    await client.close()
