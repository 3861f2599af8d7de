"""The Qdrant server down, hanging, cut off, slow or talking nonsense: searches say so, embedding goes on, and back at once."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.checks import embed, outcome_of, problem, search, until
from tests.faults.conftest import Start
from tests.faults.proxy import Mode, Proxy
from tests.faults.qdrant import QdrantProcess
from tools.servers import Server

RECOVERY_SECONDS = 5


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    qdrant = QdrantProcess()
    try:
        with Proxy(qdrant.port) as proxy:
            yield proxy
    finally:
        qdrant.stop()


@pytest.fixture
def server(start: Start, proxy: Proxy) -> Server:
    server = start(STORE=proxy.url)
    assert index(server, "before")["indexed"] == 1
    return server


def index(server: Server, name: str) -> dict[str, object]:
    answer = httpx.post(f"{server.url}/index/texts", json={"items": [{"text": name, "id": name}]}, timeout=60)
    body: dict[str, object] = answer.json()
    return body


def assert_works_without_the_store(server: Server) -> None:
    assert problem(search(server)) == (503, "store_unavailable")
    assert problem(httpx.get(f"{server.url}/items/text/before", timeout=60)) == (503, "store_unavailable")
    assert index(server, "during")["code"] == "store_unavailable"
    assert embed(server).status_code == 200
    assert httpx.get(f"{server.url}/livez").status_code == 200
    assert not server.is_ready()


def assert_recovers(server: Server) -> None:
    until(lambda: search(server).status_code == 200, within=RECOVERY_SECONDS)
    until(server.is_ready, within=RECOVERY_SECONDS)
    assert httpx.get(f"{server.url}/items/text/before").status_code == 200
    assert index(server, "after")["indexed"] == 1


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.HANG, Mode.RESET, Mode.GARBAGE])
def test_a_store_that_fails(server: Server, proxy: Proxy, mode: Mode) -> None:
    proxy.mode = mode
    assert_works_without_the_store(server)
    proxy.mode = Mode.FORWARD
    assert_recovers(server)


def test_a_store_that_is_slow_is_waited_for(server: Server, proxy: Proxy) -> None:
    proxy.mode = Mode.SLOW
    assert search(server).status_code == 200
    assert embed(server).elapsed.total_seconds() < 10
    proxy.mode = Mode.FORWARD
    assert_recovers(server)


def test_a_store_that_is_away_from_the_start(start: Start, proxy: Proxy) -> None:
    proxy.mode = Mode.REFUSE
    server = start(ready=False, STORE=proxy.url)
    until(lambda: outcome_of(lambda: embed(server)) == "200", within=90)
    assert problem(search(server)) == (503, "store_unavailable")
    assert not server.is_ready()
    proxy.mode = Mode.FORWARD
    until(server.is_ready, within=RECOVERY_SECONDS)
    assert search(server).status_code == 200


def test_searches_end_within_the_deadline_while_the_store_hangs(server: Server, proxy: Proxy) -> None:
    proxy.mode = Mode.HANG
    began = time.monotonic()
    assert problem(search(server)) == (503, "store_unavailable")
    assert time.monotonic() - began < 40
