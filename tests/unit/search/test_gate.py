import asyncio

from crossmodal.search.gate import Gate


async def test_shared_holders_run_together_and_keep_the_exclusive_one_out() -> None:
    gate, events = Gate(), list[str]()
    leave = asyncio.Event()

    async def share(name: str) -> None:
        async with gate.shared():
            events.append(f"{name} in")
            await leave.wait()
            events.append(f"{name} out")

    async def exclude() -> None:
        async with gate.exclusive():
            events.append("exclusive in")
            await asyncio.sleep(0)
            events.append("exclusive out")

    holders = [asyncio.create_task(share("a")), asyncio.create_task(share("b"))]
    await asyncio.sleep(0.01)
    remover = asyncio.create_task(exclude())
    await asyncio.sleep(0.01)
    late = asyncio.create_task(share("late"))
    await asyncio.sleep(0.01)
    assert events == ["a in", "b in"]
    leave.set()
    await asyncio.gather(*holders, remover, late)
    assert events[2:4] == ["a out", "b out"]
    assert events[4:6] == ["exclusive in", "exclusive out"]
    assert events[6:] == ["late in", "late out"]


async def test_a_cancelled_waiter_blocks_nobody() -> None:
    gate = Gate()
    async with gate.shared():
        waiter = asyncio.create_task(_hold(gate))
        await asyncio.sleep(0.01)
        waiter.cancel()
        await asyncio.wait([waiter])
    async with asyncio.timeout(1), gate.shared():
        pass
    async with asyncio.timeout(1), gate.exclusive():
        pass


async def _hold(gate: Gate) -> None:
    async with gate.exclusive():
        raise AssertionError("the gate was not exclusive")
