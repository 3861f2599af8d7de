"""What tests of faults ask again and again."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tools.servers import Server

TEXTS = ["a dog on a red background", "three bananas on a blue background"]


def embed(server: Server, texts: list[str] | None = None, *, timeout: float = 90) -> httpx.Response:
    """Embed some texts: needs the model, not the store."""
    return httpx.post(f"{server.url}/embed/texts", json={"texts": texts or TEXTS}, timeout=timeout)


def search(server: Server, *, timeout: float = 90) -> httpx.Response:
    """Search: needs model and store."""
    return httpx.post(f"{server.url}/search/text-to-image", json={"query": TEXTS[0]}, timeout=timeout)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem; checks that it is a whole one which says when to come back."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    if answer.status_code in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
    return answer.status_code, body["code"]


def until(condition: Callable[[], bool], *, within: float) -> float:
    """Seconds until ``condition`` held; fails after ``within``."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if condition():
            return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError(f"it did not happen within {within} s")


def outcome_of(request: Callable[[], httpx.Response]) -> str:
    """Status and code of an answer, or the name of what happened to the connection."""
    try:
        answer = request()
    except httpx.TransportError as error:
        return type(error).__name__
    if answer.status_code == httpx.codes.OK:
        return "200"
    status, code = problem(answer)
    return f"{status} {code}"


def at_once(requests: int, request: Callable[[int], httpx.Response], during: Callable[[], None]) -> Counter[str]:
    """Send so many requests at once, let something happen half a second later, return their outcomes."""
    with ThreadPoolExecutor(requests) as pool:
        outcomes = [pool.submit(outcome_of, lambda number=number: request(number)) for number in range(requests)]  # type: ignore[misc]
        time.sleep(0.5)
        during()
        return Counter(outcome.result() for outcome in outcomes)
