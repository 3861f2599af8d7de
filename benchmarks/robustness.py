"""How the running service bears bombs, floods, kills and forged URLs: `make bench-robustness`.

Prints one line for each number that is promised in docs/security.md and docs/operations.md, and what was measured.
All servers, clients and targets are on this machine; everything is bounded in count and time. About 8 minutes.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from tests.faults import durability
from tests.faults.checks import at_once, embed, until
from tests.pictures import encoded, photograph, png_bomb
from tests.ssrf import FORMS, LISTED
from tests.webserver import canary
from tools.load import Outcome, closed_loop, multipart, open_arrivals, request_bytes
from tools.servers import Server, end_as_if_interrupted

MB = 1e6
IN_FLIGHT = 200
JSON = {"content-type": "application/json"}


@dataclass
class Row:
    """A line of the table."""

    what: str
    promised: str
    measured: str
    kept: bool


@contextmanager
def serving(folder: Path, name: str, **settings: str) -> Iterator[Server]:
    """A server of its own, ready; it remembers no embeddings, since the same things are asked again and again."""
    server = Server(folder / name, **{"CACHE_BYTES": "0"} | settings)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


class Memory:
    """Resident bytes of a server with all its children, sampled while a block runs."""

    def __init__(self, server: Server) -> None:
        self._parent = psutil.Process(server.process.pid)
        self.before = self.peak = self._now()

    @contextmanager
    def watched(self) -> Iterator["Memory"]:
        """Sample every 10 ms."""
        over = threading.Event()

        def sample() -> None:
            while not over.wait(0.01):
                self.peak = max(self.peak, self._now())

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    @property
    def growth(self) -> float:
        """Peak less start, MB."""
        return (self.peak - self.before) / MB

    def _now(self) -> int:
        total = 0
        for process in [self._parent, *self._parent.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total


def post_picture(server: Server, content: bytes) -> httpx.Response:
    """Embed an uploaded picture."""
    return httpx.post(f"{server.url}/embed/images", files={"files": ("x", content)}, timeout=60)


def bombs(folder: Path) -> Iterator[Row]:
    """A PNG that says it has 50,000 x 50,000 pixels, alone and fifty at once."""
    content, good = png_bomb(), encoded(photograph(), "JPEG")
    with serving(folder, "bombs") as server:
        for _ in range(5):
            post_picture(server, good)
        with Memory(server).watched() as alone:
            times = []
            for _ in range(9):
                answer = post_picture(server, content)
                times.append(answer.elapsed.total_seconds() * 1000)
        ok = answer.status_code == 422 and answer.json()["code"] == "image_too_large"
        slowest = max(times)
        yield Row("50,000 x 50,000 PNG", "refused, < 200 ms, < 50 MB",
                  f"{answer.status_code}, median {statistics.median(times):.0f}, worst {slowest:.0f} ms, {alone.growth:+.1f} MB",
                  ok and slowest < 200 and alone.growth < 50)  # fmt: skip
        with Memory(server).watched() as many, ThreadPoolExecutor(50) as pool:
            began = time.perf_counter()
            statuses = Counter(
                answer.status_code for answer in pool.map(lambda _: post_picture(server, content), range(50))
            )
            taken = (time.perf_counter() - began) * 1000
        yield Row("... 50 at once", "refused, < 50 MB", f"{dict(statuses)}, all in {taken:.0f} ms, {many.growth:+.1f} MB",
                  statuses == {422: 50} and many.growth < 50)  # fmt: skip


def large_upload(folder: Path) -> Iterator[Row]:
    """20 MiB and a byte, with its length declared and without."""
    content = bytes(20 * 2**20 + 1)

    def pieces() -> Iterator[bytes]:
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
        yield head
        yield from (content[start : start + 65536] for start in range(0, len(content), 65536))

    with serving(folder, "large") as server:
        post_picture(server, encoded(photograph(), "JPEG"))
        with Memory(server).watched() as declared:
            first = post_picture(server, content)
        yield Row("upload of 20 MiB + 1 byte", "413, < 30 MB", f"{first.status_code}, {declared.growth:+.1f} MB",
                  first.status_code == 413 and declared.growth < 30)  # fmt: skip
        headers = {"content-type": "multipart/form-data; boundary=b"}
        with Memory(server).watched() as chunked:
            second = httpx.post(f"{server.url}/embed/images", content=pieces(), headers=headers, timeout=60)
        yield Row("... of undeclared length", "413, < 30 MB", f"{second.status_code}, {chunked.growth:+.1f} MB",
                  second.status_code == 413 and chunked.growth < 30)  # fmt: skip


def one_bad(folder: Path) -> Iterator[Row]:
    """A truncated picture among sixteen that come at once."""
    pictures = [encoded(photograph(seed=seed), "JPEG") for seed in range(16)]
    with serving(folder, "one-bad") as server:
        alone = [np.array(post_picture(server, content).json()["embeddings"][0]) for content in pictures]
        spoiled = [content[: len(content) // 2] if number == 7 else content for number, content in enumerate(pictures)]
        with ThreadPoolExecutor(16) as pool:
            together = list(pool.map(lambda content: post_picture(server, content), spoiled))
        cosines = [
            float(alone[number] @ np.array(answer.json()["embeddings"][0]))
            for number, answer in enumerate(together)
            if answer.status_code == 200
        ]
    yield Row("1 bad of 16 at once", "15 equal to solo, cosine > 0.9999",
              f"{len(cosines)} answers, lowest cosine {min(cosines):.7f}, the bad one {together[7].status_code}",
              len(cosines) == 15 and min(cosines) > 0.9999)  # fmt: skip


def killed_encoder(folder: Path) -> Iterator[Row]:
    """SIGKILL to the model's process with 200 requests in flight."""
    began = time.perf_counter()
    with serving(folder, "killed", ENCODER="service") as server:
        load = time.perf_counter() - began
        (encoder,) = server.workers("Encoder")
        killed = 0.0

        def kill() -> None:
            nonlocal killed
            os.kill(encoder, signal.SIGKILL)
            killed = time.perf_counter()

        outcomes = at_once(
            IN_FLIGHT, lambda n: embed(server, [f"{n} cats and {each} dogs by a bicycle" for each in range(80)]), kill
        )
        hanging = time.perf_counter() - killed
        until(lambda: server.workers("Encoder") not in ([], [encoder]) and server.is_ready(), within=120)
        back = time.perf_counter() - killed
    yield Row("encoder SIGKILL, 200 in flight", f"200 terminal answers; ready in 15 s + load ({load:.0f} s)",
              f"{dict(outcomes)}, last after {hanging:.1f} s; ready after {back:.1f} s",
              outcomes.total() == IN_FLIGHT and back < 15 + load)  # fmt: skip


def kills(folder: Path) -> Iterator[Row]:
    """SIGKILL to every process at 50 random moments while clients index."""
    ledgers, faults = durability.run_both(50, folder / "durability")
    yield Row("50 SIGKILLs during indexing", "0 acknowledged items missing",
              f"{durability.summary(ledgers)} acknowledged, {len(faults)} missing", not faults)  # fmt: skip


def forged_urls(folder: Path) -> Iterator[Row]:
    """Every form of the matrix, through a service that fetches from any public host and from the canary's port."""

    async def ask() -> tuple[int, Counter[int]]:
        statuses: Counter[int] = Counter()
        async with canary() as trap:
            hosts = ",".join(f"{host}:{trap.port}" for host in LISTED)
            with serving(folder, "urls", FETCH_URLS="public", FETCH_HOSTS=hosts, FETCH_TIMEOUT="5") as server:
                async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                    for form in FORMS:
                        body = json.dumps({"images": [form.at(trap.port)]})
                        answer = await client.post("/embed/images", content=body, headers=JSON)
                        statuses[answer.status_code] += 1
            return trap.connections, statuses

    hits, statuses = asyncio.run(ask())
    yield Row("forged URLs", "0 canary hits of 30 forms or more", f"{len(FORMS)} forms, {hits} hits, {dict(statuses)}",
              hits == 0 and all(400 <= status < 500 for status in statuses))  # fmt: skip


def overload(folder: Path, seconds: float) -> Iterator[Row]:
    """Picture searches at three times what the service can do."""
    requests = []
    for seed in range(32):
        body, kind = multipart(encoded(photograph(seed=seed), "JPEG"))
        requests.append(request_bytes("POST", "/search/similar-images", body, kind))
    with serving(folder, "overload", STORE="memory:") as server:
        asyncio.run(closed_loop(server.url, requests, clients=16, seconds=3))

        def goodputs() -> list[float]:
            rounds = (closed_loop(server.url, requests, clients=clients, seconds=6) for clients in (16, 32, 64))
            return [asyncio.run(each).goodput for each in rounds]

        before = goodputs()
        flood: Outcome = asyncio.run(open_arrivals(server.url, requests, rate=3 * max(before), seconds=seconds))
        after = goodputs()
    # The machine drifts within such a minute: the peak is of both sides, for the same number of clients.
    peak = max(statistics.mean(pair) for pair in zip(before, after, strict=True))
    allowed = set(flood.statuses) <= {"200", "429", "503"}
    p99 = statistics.quantiles(flood.latencies, n=100)[98]
    yield Row(f"3x the knee for {seconds:.0f} s", "only 200, 429, 503; goodput >= 80 % of peak",
              f"{dict(flood.statuses)}; peak {peak:.0f}/s ({max(before):.0f} before, {max(after):.0f} after), "
              f"goodput {flood.goodput:.0f}/s ({flood.goodput / peak:.0%}), p99 of the 200s {p99:.1f} s",
              allowed and flood.goodput >= 0.8 * peak)  # fmt: skip


def main() -> None:
    """Measure and print the table; status 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only measures whose name contains this")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the flood")
    arguments = parser.parse_args()
    end_as_if_interrupted()
    measures: dict[str, Callable[[Path], Iterator[Row]]] = {
        "bombs": bombs,
        "large": large_upload,
        "one-bad": one_bad,
        "killed": killed_encoder,
        "kills": kills,
        "urls": forged_urls,
        "overload": lambda folder: overload(folder, arguments.seconds),
    }
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in measures.items():
            if arguments.only in name:
                for row in measure(Path(folder)):
                    print(
                        f"{'kept  ' if row.kept else 'MISSED'}  {row.what:32} {row.promised:45} {row.measured}",
                        flush=True,
                    )
                    broken += not row.kept
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
