import asyncio
from collections.abc import Callable

import pytest

from crossmodal.errors import StoreUnavailable
from crossmodal.store.breaker import Breaker


class Store:
    def __init__(self) -> None:
        self.silent = False
        self.calls = 0
        self.probes = 0

    async def call(self) -> str:
        self.calls += 1
        if self.silent:
            raise StoreUnavailable("nothing heard") from TimeoutError()
        return "answer"

    async def refuse(self) -> str:
        raise StoreUnavailable("no")

    async def probe(self) -> None:
        self.probes += 1
        await self.call()


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def breaker_of(store: Store) -> Breaker:
    return Breaker(store.probe, lambda error: isinstance(error.__cause__, TimeoutError), every_s=0.01)


async def test_after_silence_callers_are_not_made_to_wait_until_a_probe_succeeds() -> None:
    store = Store()
    breaker = breaker_of(store)
    assert await breaker.run(store.call) == "answer"
    store.silent = True
    with pytest.raises(StoreUnavailable, match="nothing heard"):
        await breaker.run(store.call)
    calls = store.calls - store.probes
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="asked again"):
            await breaker.run(store.call)
    assert store.calls - store.probes == calls
    await eventually(lambda: store.probes >= 3)
    assert breaker.is_open
    store.silent = False
    await eventually(lambda: not breaker.is_open)
    assert await breaker.run(store.call) == "answer"
    await breaker.close()


async def test_a_refusal_is_no_silence() -> None:
    store = Store()
    breaker = breaker_of(store)
    with pytest.raises(StoreUnavailable, match="no"):
        await breaker.run(store.refuse)
    assert not breaker.is_open
    assert await breaker.run(store.call) == "answer"


async def test_closing_ends_the_probing() -> None:
    store = Store()
    breaker = breaker_of(store)
    store.silent = True
    with pytest.raises(StoreUnavailable):
        await breaker.run(store.call)
    await breaker.close()
    probes = store.probes
    await asyncio.sleep(0.05)
    assert store.probes == probes
