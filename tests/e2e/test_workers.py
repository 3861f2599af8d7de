"""Several API processes and several encoders behind one address."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tests.faults.checks import TEXTS, embed, outcome_of, until
from tests.faults.qdrant import QdrantProcess
from tests.pictures import encoded, photograph
from tools.servers import Server

pytestmark = pytest.mark.e2e

APIS, ENCODERS = 3, 2
API, ENCODER = "CrossModalSearch", "Encoder"


@pytest.fixture(scope="module")
def store() -> Iterator[QdrantProcess]:
    made = QdrantProcess()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: QdrantProcess) -> Iterator[Server]:
    made = Server(
        tmp_path_factory.mktemp("workers"),
        ENCODER="service",
        API_WORKERS=str(APIS),
        ENCODER_WORKERS=str(ENCODERS),
        STORE=store.url,
    )
    made.wait_until_ready()
    yield made
    made.stop()


def connections(server: Server) -> dict[int, int]:
    """How many connections of clients each API process has."""
    return {
        pid: sum(
            each.laddr.port == server.port and each.status == psutil.CONN_ESTABLISHED
            for each in psutil.Process(pid).net_connections("tcp")
        )
        for pid in server.workers(API)
    }


def is_whole(server: Server) -> bool:
    """Whether every process takes part: each new connection goes to one that has the fewest."""
    with ExitStack() as stack:
        for _ in range(APIS):
            stack.enter_context(opened(server))
        return sorted(connections(server).values()) == [1] * APIS and len(server.workers(ENCODER)) == ENCODERS


def opened(server: Server) -> socket.socket:
    """A connection that a process has taken: one request is answered on it."""
    made = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    made.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
    assert made.recv(4096).startswith(b"HTTP/1.1 200")
    return made


def test_every_api_process_has_as_many_connections(server: Server) -> None:
    until(lambda: is_whole(server), within=60)
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(opened(server))
        # Who is kept from running for 5 ms misses one. Not shared out, one had less than half of that.
        assert min(connections(server).values()) >= 7


def test_all_encoders_say_the_same(server: Server) -> None:
    picture = encoded(photograph(), "JPEG")
    rows = []
    for _ in range(6):
        with httpx.Client(base_url=server.url, timeout=30) as client:  # a connection of its own each time
            texts = client.post("/embed/texts", json={"texts": [*TEXTS, str(time.monotonic())]}).json()
            images = client.post("/embed/images", files={"files": ("a.jpg", picture)}).json()
            rows.append(np.array([*texts["embeddings"][:2], *images["embeddings"]]))
    for row in rows[1:]:
        assert np.einsum("nd,nd->n", row, rows[0]).min() > 0.9999


@pytest.mark.parametrize("service", [API, ENCODER])
def test_one_that_is_killed_is_missed_by_nobody_for_long(server: Server, service: str) -> None:
    until(lambda: is_whole(server), within=60)
    os.kill(server.workers(service)[0], signal.SIGKILL)
    began = time.monotonic()
    early: Counter[str] = Counter()
    late: Counter[str] = Counter()
    while (passed := time.monotonic() - began) < 5:
        (early if passed < 2 else late)[outcome_of(lambda: embed(server, [f"a dog {time.monotonic()}"]))] += 1
    assert early.keys() <= {"200", "503 model_unavailable"}
    assert late.keys() == {"200"}
    until(lambda: is_whole(server), within=90)


def test_an_end_finishes_all(tmp_path: Path, store: QdrantProcess) -> None:
    server = Server(tmp_path, ENCODER="service", API_WORKERS="2", ENCODER_WORKERS="2", STORE=store.url)
    server.wait_until_ready()
    assert embed(server).status_code == httpx.codes.OK
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
