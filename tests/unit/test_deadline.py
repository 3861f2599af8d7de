"""How long a request still has, where it is asked."""

import asyncio

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
