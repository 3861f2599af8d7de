"""Clients that send too much, too slowly, or leave; one bad picture among good ones; searches beside a mass of indexing."""

import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.faults.checks import TEXTS, embed, outcome_of, until
from tests.faults.conftest import Start
from tests.pictures import encoded, photograph
from tools.servers import Server

PLACES = 4


def texts(number: int, count: int = 1000) -> list[str]:
    return [f"{number} cats and {each} dogs to the left of a bicycle" for each in range(count)]


def opened(server: Server, head: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(head)
    return connection


def waiting(server: Server) -> float:
    """Items waiting for the model after one more request, for the number is that of the last batch."""
    embed(server)
    metrics = httpx.get(f"{server.url}/metrics").text
    (line,) = [line for line in metrics.splitlines() if line.startswith("crossmodal_queued_items")]
    return float(line.rsplit(" ", 1)[1])


def post(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


def test_over_its_places_it_says_when_to_come_back(start: Start) -> None:
    server = start(MAX_CONCURRENCY=str(PLACES))
    with ThreadPoolExecutor(24) as pool:
        outcomes = [pool.submit(outcome_of, lambda number=n: embed(server, texts(number, 300))) for n in range(24)]  # type: ignore[misc]
        time.sleep(0.3)
        assert httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200  # probes need no place
        seen = [outcome.result() for outcome in outcomes]
    assert set(seen) == {"200", "429 overloaded"}
    assert seen.count("200") >= PLACES
    assert embed(server).status_code == 200


def test_a_client_that_leaves_frees_its_place_and_its_work(start: Start) -> None:
    server = start(MAX_CONCURRENCY=str(PLACES))
    body = b'{"texts":["' + b'","'.join(text.encode() for text in texts(0)) + b'"]}'
    leaving = [opened(server, post("/embed/texts", len(body)) + body) for _ in range(PLACES)]
    until(lambda: outcome_of(lambda: embed(server)) == "429 overloaded", within=10)
    for connection in leaving:
        connection.close()
    freed = until(lambda: outcome_of(lambda: embed(server)) == "200", within=10)
    assert freed < 5
    until(lambda: waiting(server) == 0, within=5)


def test_a_body_that_stalls_is_answered_within_the_deadline(start: Start) -> None:
    server = start(TIMEOUT="3")
    with opened(server, post("/embed/texts", 1000) + b'{"texts":') as connection:
        began = time.monotonic()
        answer = connection.recv(65536)
        assert time.monotonic() - began < 10
    assert answer.startswith(b"HTTP/1.1 504")
    assert b'"code":"deadline_exceeded"' in answer
    assert embed(server).status_code == 200


def test_a_head_that_stalls_is_answered(start: Start) -> None:
    server = start()
    stalled = [opened(server, b"POST /embed/texts HTTP/1.1\r\nHost: ") for _ in range(50)]
    assert embed(server).status_code == 200
    for connection in stalled:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")
        connection.close()


def test_bodies_are_bounded_together(start: Start) -> None:
    server = start(MAX_BUFFERED_BYTES=str(2_000_000))
    head = post("/embed/texts", 1_500_000) + b'{"texts":["' + b"x" * 1_400_000
    with opened(server, head):
        time.sleep(1)
        large = httpx.post(f"{server.url}/embed/texts", json={"texts": ["x" * 1_000_000]}, timeout=30)
        assert (large.status_code, large.json()["code"]) == (429, "overloaded")
        assert embed(server).status_code == 200
    until(
        lambda: (
            httpx.post(f"{server.url}/embed/texts", json={"texts": ["x" * 1_000_000]}, timeout=30).status_code == 422
        ),
        within=10,
    )


@pytest.mark.parametrize("way", ["local", "service"])
def test_one_bad_picture_of_sixteen_costs_the_others_nothing(start: Start, way: str) -> None:
    server = start(ENCODER=way, CACHE_BYTES="0")  # what was asked alone is not to be answered from memory
    pictures = [encoded(photograph(seed=seed), "JPEG") for seed in range(16)]

    def ask(content: bytes) -> httpx.Response:
        return httpx.post(f"{server.url}/embed/images", files={"files": ("x.jpg", content)}, timeout=60)

    alone = [np.array(ask(content).json()["embeddings"][0]) for content in pictures]
    pictures[7] = pictures[7][: len(pictures[7]) // 2]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, pictures))
    assert [answer.status_code for answer in together] == [200] * 7 + [422] + [200] * 8
    for number, answer in enumerate(together):
        if number != 7:
            assert float(alone[number] @ np.array(answer.json()["embeddings"][0])) > 0.9999


@pytest.mark.parametrize("way", ["local", "service"])
def test_searches_do_not_wait_behind_indexing(start: Start, way: str) -> None:
    server = start(ENCODER=way)

    def query() -> float:
        answer = httpx.post(f"{server.url}/search/text-to-image", json={"query": TEXTS[0]}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.elapsed.total_seconds()

    def index(number: int) -> float:
        answer = httpx.post(f"{server.url}/index/texts", json={"items": texts(number)}, timeout=90)
        assert answer.status_code == 200, answer.text
        return answer.elapsed.total_seconds()

    query()
    with ThreadPoolExecutor(8) as pool:
        indexing = [pool.submit(index, number) for number in range(8)]
        time.sleep(0.5)
        beside = statistics.median([query() for _ in range(9)])
        slowest = max(job.result() for job in indexing)
    # Behind the bulk work it would take about as long as that: a batch, not the queue, is what a query waits for.
    assert beside < slowest / 5, f"a query took {beside:.2f} s beside indexing that took {slowest:.2f} s"
