"""How long a request still has, where it is asked."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from crossmodal import deadline


async def test_outside_of_a_request_there_is_none() -> None:
    assert deadline.remaining() is None
    with deadline.within(5):
        pass
    assert deadline.remaining() is None


async def test_it_runs_down_and_may_be_over() -> None:
    with deadline.within(60):
        first = deadline.remaining()
        await asyncio.sleep(0.01)
        second = deadline.remaining()
    assert first is not None
    assert second is not None
    assert 0 < second < first <= 60
    with deadline.within(-1):
        over = deadline.remaining()
    assert over is not None
    assert over < 0


async def test_what_was_begun_in_the_block_has_it_and_others_have_theirs() -> None:
    async def ask() -> float | None:
        await asyncio.sleep(0)
        return deadline.remaining()

    with deadline.within(100):
        long = asyncio.create_task(ask())
    with deadline.within(10):
        short = asyncio.create_task(ask())
    found = await asyncio.gather(long, short, ask())
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] > 50
    assert found[1] <= 10
    assert found[2] is None


async def serve(app: Callable[..., Awaitable[None]], limit: float, kind: str = "http") -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await deadline.TimeoutMiddleware(app, limit)({"type": kind}, None, send)
    return sent


async def test_an_app_that_does_not_begin_to_answer_in_time_is_given_up_and_answered_for() -> None:
    given_up = asyncio.Event()

    async def hang(*_: object) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            given_up.set()

    assert [message.get("status") for message in await serve(hang, 0.02)] == [504, None]
    assert given_up.is_set()


async def test_an_answer_that_has_begun_may_take_its_time() -> None:
    async def slow(_scope: object, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"all"})

    assert [message["type"] for message in await serve(slow, 0.02)] == ["http.response.start", "http.response.body"]


async def test_a_timeout_of_the_apps_own_is_the_apps() -> None:
    async def broken(*_: object) -> None:
        raise TimeoutError("something else")

    with pytest.raises(TimeoutError, match="something else"):
        await serve(broken, 60)


async def test_the_servers_start_and_end_have_no_limit() -> None:
    async def slow(*_: object) -> None:
        await asyncio.sleep(0.1)

    assert await serve(slow, 0.02, "lifespan") == []


async def test_nothing_of_a_request_is_kept_once_it_is_answered() -> None:
    class Something:
        """Belongs to a request."""

    belonging: ContextVar[Something] = ContextVar("belonging")
    kept: list[weakref.ref[Something]] = []

    async def answer(_scope: object, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def request() -> None:
        something = Something()
        belonging.set(something)
        kept.append(weakref.ref(something))
        await serve(answer, 60)

    await asyncio.create_task(request())
    await asyncio.sleep(0)
    gc.collect()
    assert kept[0]() is None
