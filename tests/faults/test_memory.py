"""What requests leave behind in the process that answered them."""

import asyncio

import psutil

from tests.faults.conftest import Start
from tools.load import closed_loop, request_bytes

REQUESTS = 4000
LEFT_BYTES = 500
"""A request may leave so much; BentoML's timers, kept for the limit of time, left 1500 bytes of each."""


def test_requests_leave_no_memory_behind(start: Start) -> None:
    server = start()
    worker = psutil.Process(server.workers("CrossModalSearch")[0])
    asked = [request_bytes("GET", "/items/image?limit=1")]
    asyncio.run(closed_loop(server.url, asked, clients=8, seconds=4))  # pages of memory, caches
    before, answered = worker.memory_info().rss, 0
    while answered < REQUESTS:
        outcome = asyncio.run(closed_loop(server.url, asked, clients=8, seconds=1))
        assert set(outcome.statuses) == {"200"}
        answered += outcome.statuses.total()
    assert worker.memory_info().rss - before < LEFT_BYTES * answered
