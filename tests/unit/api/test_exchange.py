"""Time, places and clients that leave, over ASGI with a hand on every message."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from crossmodal import deadline
from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits
from crossmodal.errors import Overloaded
from crossmodal.telemetry import configure_logging
from tests.metrics import problems, shedding

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Client:
    """One connection: what it sends is given, what it gets is kept."""

    def __init__(self, app: App, traffic: Traffic | None = None, path: str = "/x", method: str = "POST") -> None:
        self.traffic = traffic or Traffic(TrafficLimits())
        self.got: list[Message] = []
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        headers = [(b"transfer-encoding", b"chunked")] if method == "POST" else []
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        edge = EdgeMiddleware(app, traffic=self.traffic)
        self.task = asyncio.create_task(edge(scope, self._incoming.get, self._keep))

    def send(self, body: bytes, *, more: bool = False) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def _keep(self, message: Message) -> None:
        self.got.append(message)

    @property
    def status(self) -> int:
        return int(self.got[0]["status"])

    @property
    def problem(self) -> dict[str, object]:
        body: dict[str, object] = json.loads(self.got[1]["body"])
        return body

    def header(self, name: bytes) -> bytes | None:
        return dict(self.got[0]["headers"]).get(name)


class Work:
    """An app that reads the body and then works until it is released."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while scope["method"] == "POST" and (await receive()).get("more_body"):
            pass
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        await PlainTextResponse("done")(scope, receive, send)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_leaves_ends_its_work_and_frees_its_place(work: Work, method: str) -> None:
    client = Client(work, method=method)
    client.send(b"{}")
    await work.started.wait()
    assert client.traffic.in_flight == 1
    client.leave()
    await client.task
    assert work.cancelled
    assert client.traffic.in_flight == 0
    assert client.status == 499  # for the access log and BentoML around; nobody reads it


async def test_what_follows_a_complete_answer_is_not_cut_off() -> None:
    followed = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal followed
        await receive()
        await PlainTextResponse("done")(scope, receive, send)
        client.leave()  # what servers say once all is sent
        await asyncio.sleep(0.05)
        followed = True

    client = Client(app)
    client.send(b"")
    await client.task
    assert followed


async def test_work_over_the_time_is_cancelled_and_answered(work: Work) -> None:
    client = Client(work, Traffic(TrafficLimits(timeout=0.1)))
    client.send(b"{}")
    await client.task
    assert (client.status, client.problem["code"]) == (504, "deadline_exceeded")
    assert work.cancelled
    assert client.traffic.in_flight == 0


async def test_the_time_runs_while_the_body_comes(work: Work) -> None:
    client = Client(work, Traffic(TrafficLimits(timeout=0.1)))
    client.send(b"{", more=True)
    await client.task
    assert (client.status, client.problem["code"]) == (504, "deadline_exceeded")
    assert not work.started.is_set()
    assert client.header(b"connection") == b"close"


async def test_a_body_that_trickles_loses_its_place(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmodal.api.exchange.BODY_GRACE_SECONDS", 0.1)
    client = Client(work)
    client.send(b"{", more=True)
    asyncio.get_running_loop().call_later(0.5, client.leave)  # ends the lingering
    await client.task
    assert (client.status, client.problem["code"]) == (408, "request_timeout")
    assert client.traffic.in_flight == 0


async def test_nobody_alone_holds_all_places() -> None:
    traffic = Traffic(TrafficLimits(concurrency=8))
    with ExitStack() as places:
        for _ in range(6):
            places.enter_context(traffic.place("/x", "greedy"))
        with pytest.raises(Overloaded, match="of this key") as refused:
            places.enter_context(traffic.place("/x", "greedy"))
        assert refused.value.shed == "key"
        places.enter_context(traffic.place("/x", "modest"))
    assert traffic.in_flight == 0
    with traffic.place("/x", "greedy"):
        assert traffic.in_flight == 1


async def test_each_request_is_one_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    client = Client(PlainTextResponse("fine"), path="/a\r\nFORGED\0", method="GET")
    client.send(b"")
    await client.task
    (line,) = capsys.readouterr().err.splitlines()
    logged = json.loads(line)
    assert (logged["event"], logged["method"], logged["path"], logged["status"]) == (
        "request",
        "GET",
        "/a\r\nFORGED\0",
        200,
    )
    assert logged["caller"] == "anybody"
    probe = Client(PlainTextResponse("fine"), path="/livez", method="GET")
    probe.send(b"")
    await probe.task
    assert capsys.readouterr().err == ""


async def test_an_answer_that_has_begun_may_take_longer() -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"slow"})

    client = Client(app, Traffic(TrafficLimits(timeout=0.1)))
    client.send(b"")
    await client.task
    assert client.got[1]["body"] == b"slow"


async def test_an_answer_that_never_ends_is_broken_off() -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    client = Client(app, Traffic(TrafficLimits(timeout=0.02)))
    client.send(b"")
    with pytest.raises(ConnectionAbortedError):
        await client.task


async def test_over_the_places_it_is_429_with_a_time_to_come_back(work: Work) -> None:
    traffic = Traffic(TrafficLimits(concurrency=2))
    working = [Client(work, traffic, method="GET") for _ in range(2)]
    await work.started.wait()
    await asyncio.sleep(0)
    with shedding(requests=1):
        refused = Client(work, traffic, method="GET")
        await refused.task
    assert (refused.status, refused.problem["code"]) == (429, "overloaded")
    assert int(refused.header(b"retry-after") or b"0") >= 1
    probe = Client(work, traffic, "/livez", method="GET")
    await asyncio.sleep(0)
    assert not probe.task.done(), "a probe needs no place"
    work.release.set()
    await asyncio.gather(probe.task, *(client.task for client in working))
    assert [client.status for client in working] == [200, 200]
    await traffic.drained()


async def test_indexing_takes_half_of_the_places_at_most(work: Work) -> None:
    traffic = Traffic(TrafficLimits(concurrency=4))
    with shedding(indexing=1):
        indexing = [Client(work, traffic, "/index/texts") for _ in range(3)]
        await asyncio.sleep(0.01)
    assert [bool(client.got) for client in indexing] == [False, False, True]
    assert indexing[2].status == 429
    searching = [Client(work, traffic, "/search/text-to-image") for _ in range(2)]
    for client in [*indexing, *searching]:
        client.send(b"{}")
    work.release.set()
    await asyncio.gather(*(client.task for client in [*indexing, *searching]))
    assert [client.status for client in searching] == [200, 200]


async def test_bodies_are_bounded_together_and_given_back(work: Work) -> None:
    traffic = Traffic(TrafficLimits(buffered=100, body=80))
    first = Client(work, traffic)
    first.send(b"x" * 60)
    await work.started.wait()
    with shedding(bytes=1):
        second = Client(work, traffic)
        second.send(b"x" * 60)
        await second.task
    assert (second.status, second.problem["code"]) == (429, "overloaded")
    work.release.set()
    await first.task
    assert first.status == 200
    third = Client(work, traffic)
    third.send(b"x" * 60)
    await third.task
    assert third.status == 200


async def test_at_the_end_it_is_not_ready_then_closed(work: Work) -> None:
    traffic = Traffic(TrafficLimits())
    traffic.draining = True
    with shedding(), problems():  # a probe is no work
        ready = Client(work, traffic, "/readyz", method="GET")
        await ready.task
    assert (ready.status, ready.problem["code"]) == (503, "model_unavailable")
    late = Client(work, traffic)
    late.send(b"")
    await work.started.wait()
    traffic.closed = True
    with shedding(ending=1):
        refused = Client(work, traffic)
        await refused.task
    assert refused.status == 503
    assert refused.header(b"retry-after") is not None
    work.release.set()
    await late.task
    assert late.status == 200
    await traffic.drained()


async def test_a_probe_that_hangs_is_answered(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmodal.api.edge.PROBE_SECONDS", 0.05)
    probe = Client(work, path="/readyz", method="GET")
    await probe.task
    assert (probe.status, probe.problem["code"]) == (503, "model_unavailable")


async def test_problems_are_counted_but_those_of_probes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("not yet", 503)(scope, receive, send)

    with problems():
        for path in ("/readyz", "/livez", "/healthz"):
            probe = Client(app, path=path, method="GET")
            await probe.task
            assert (probe.status, probe.problem["code"]) == (503, "model_unavailable")
    with problems(model_unavailable=1):
        await Client(app, path="/stats", method="GET").task


async def test_the_app_knows_how_long_it_has() -> None:
    left: list[float | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        left.append(deadline.remaining())
        await PlainTextResponse("fine")(scope, receive, send)

    client = Client(app, Traffic(TrafficLimits(timeout=40)), method="GET")
    await client.task
    assert client.status == 200
    assert left[0] is not None
    assert 0 < left[0] <= 40
    assert deadline.remaining() is None
