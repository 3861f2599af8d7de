"""Being asked to end: not ready at once, what is under way is finished, status 0; and nothing left behind."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.faults.checks import embed, until
from tests.faults.conftest import Start
from tools.servers import Server

WORK = [f"{number} cats and dogs to the left of a bicycle" for number in range(1000)]


def readiness(server: Server) -> str:
    try:
        return str(httpx.get(f"{server.url}/readyz", timeout=5).status_code)
    except httpx.TransportError as error:
        return type(error).__name__


def in_flight(server: Server) -> float:
    """Requests that have arrived and are not answered yet."""
    lines = httpx.get(f"{server.url}/metrics", timeout=5).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("crossmodal_requests_in_flight "))


@pytest.mark.parametrize("way", ["local", "service"])
def test_sigterm_finishes_what_is_under_way(start: Start, way: str) -> None:
    # A slow machine may work at it for longer than a request usually has.
    server = start(ENCODER=way, TIMEOUT="80")
    with ThreadPoolExecutor(6) as pool:
        # Texts that fill the context, or on a quick machine the first request is answered before the last one comes.
        answers = [pool.submit(embed, server, [f"{number} {text * 5}" for text in WORK]) for number in range(6)]
        until(lambda: in_flight(server) == 6, within=10)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: readiness(server) == "503", within=2)
        assert [answer.result().status_code for answer in answers] == [200] * 6
    assert server.process.wait(30) == 0
    assert readiness(server) == "ConnectError"


@pytest.mark.parametrize("way", ["local", "service"])
def test_requests_are_taken_while_load_balancers_learn_of_the_end(start: Start, way: str) -> None:
    server = start(DRAIN="4", ENCODER=way)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: readiness(server) == "503", within=2)
    with ThreadPoolExecutor(8) as pool:  # more than the API has connections to the encoder
        answers = list(pool.map(lambda number: embed(server, [f"{number} {text}" for text in WORK[:100]]), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert server.process.wait(30) == 0


@pytest.mark.parametrize("way", ["local", "service"])
@pytest.mark.parametrize("after", [0.3, 2.0, 5.0])
def test_sigterm_while_the_model_loads(start: Start, way: str, after: float) -> None:
    server = start(ready=False, ENCODER=way)
    until(lambda: "Starting production" in server.log, within=60)
    time.sleep(after)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0


def test_a_second_sigterm_changes_nothing(start: Start) -> None:
    server = start()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(embed, server, WORK)
        time.sleep(0.3)
        for pid in [*server.workers("CrossModalSearch"), server.process.pid]:
            os.kill(pid, signal.SIGTERM)
        assert answer.result().status_code == 200
    assert server.process.wait(30) == 0


def test_workers_do_not_outlive_a_killed_parent(start: Start) -> None:
    server = start(ENCODER="service")
    workers = [*server.workers("Encoder"), *server.workers("CrossModalSearch")]
    assert len(workers) == 2
    server.process.kill()
    server.process.wait()
    until(lambda: not any(map(psutil.pid_exists, workers)), within=30)
    again = start(ENCODER="service")  # the same folder: its store has no owner any more
    assert embed(again).status_code == 200
