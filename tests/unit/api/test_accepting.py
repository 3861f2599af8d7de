"""How connections are shared out among those who wait for them on one socket."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs

from crossmodal.api import accepting
from crossmodal.api.accepting import (
    PATIENCE_SECONDS,
    SILENCE_SECONDS,
    SLACK,
    SLOTS,
    Acceptor,
    Counts,
    EndableProtocol,
    share_connections,
)


class Echo(EndableProtocol):
    """Answers with its process's name, and is one of its process's connections."""

    def __init__(self, name: str, among: set["Echo"]) -> None:
        self._name = name
        self._among = among
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._among.add(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self._name.encode() + data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._among.discard(self)

    def shutdown(self) -> None:
        self.transport.close()


class Process:
    """What one of several processes has: its place, its connections."""

    def __init__(self, path: Path, place: int, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self.open: set[Echo] = set()
        self.listener = listener
        self.acceptor = Acceptor(
            listener,
            lambda: Echo(str(place), self.open),
            Counts(path, place),
            connections=lambda: len(self.open),
            tls=tls,
        )
        self.telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while True:
            self.acceptor.tell()
            await asyncio.sleep(0.1)

    async def end(self) -> None:
        self.telling.cancel()
        self.acceptor.close()
        await self.acceptor.wait_closed()
        self.listener.close()
        for connection in list(self.open):
            connection.transport.abort()
        await until(lambda: not self.open)


Begin = Callable[..., Process]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- of another process there is no event
            await asyncio.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "connections"


@pytest.fixture(params=["tcp"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    if request.param == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as made:
            yield made
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(tmp_path / "socket"))
            made.listen()
            yield made


@pytest.fixture
async def begin(path: Path, listener: socket.socket) -> AsyncIterator[Begin]:
    begun: list[Process] = []

    def begin(place: int = 0, on: socket.socket = listener, tls: ssl.SSLContext | None = None) -> Process:
        begun.append(Process(path, place, on.dup(), tls))
        return begun[-1]

    yield begin
    for process in begun:
        await process.end()


class Client:
    """A connection to ``listener``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, seconds: float = 5) -> bytes:
        """Who has it."""
        self.writer.write(b"!")
        return await asyncio.wait_for(self.reader.readexactly(2), seconds)


Connect = Callable[[], Coroutine[Any, Any, Client]]


@pytest.fixture
async def connect(listener: socket.socket) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def connect() -> Client:
        name = listener.getsockname()
        opened = asyncio.open_unix_connection(name) if isinstance(name, str) else asyncio.open_connection(*name)
        clients.append(Client(*await opened))
        return clients[-1]

    yield connect
    for client in clients:
        client.writer.close()
        with suppress(ConnectionError):
            await client.writer.wait_closed()


def test_counts_are_seen_by_others(path: Path) -> None:
    first, second, third = (Counts(path, place) for place in (0, 1, SLOTS - 1))
    assert first.fewest_of_others() is None
    first.set(0)
    assert first.fewest_of_others() is None
    assert second.fewest_of_others() == 0
    first.set(5)
    third.set(3)
    assert second.fewest_of_others() == 3
    assert first.fewest_of_others() == 3
    assert third.fewest_of_others() == 5
    third.leave()
    assert second.fewest_of_others() == 5
    assert third.fewest_of_others() == 5


def test_of_who_tells_nothing_nothing_is_expected(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 2**32 / 1000 - 0.3  # the milliseconds begin anew in between
    monkeypatch.setattr(time, "monotonic", lambda: now)
    first, second, third = (Counts(path, place) for place in range(3))
    first.set(1)
    now += SILENCE_SECONDS - 0.01
    second.set(2)
    assert third.fewest_of_others() == 1
    now += 0.02
    assert third.fewest_of_others() == 2
    first.set(1)
    assert third.fewest_of_others() == 1


def test_a_process_in_the_place_of_one_that_was_killed_is_not_taken_for_it(path: Path) -> None:
    Counts(path, 0).set(7)
    again = Counts(path, 0)
    assert again.fewest_of_others() is None
    again.set(1)
    assert Counts(path, 1).fewest_of_others() == 1


@pytest.mark.parametrize("listener", ["tcp", "unix"], indirect=True)
async def test_of_many_at_once_all_get_as_many(begin: Begin, connect: Connect) -> None:
    for place in range(3):
        begin(place)
    clients = await asyncio.gather(*(connect() for _ in range(30)))
    answers = [await client.ask() for client in clients]
    assert min(answers.count(b"%d!" % place) for place in range(3)) >= 7  # 9 to 11, unless the loop is held up


async def test_of_many_one_after_another_all_get_as_many(begin: Begin, connect: Connect) -> None:
    for place in range(3):
        begin(place)
    answers = [await (await connect()).ask() for _ in range(30)]
    assert min(answers.count(b"%d!" % place) for place in range(3)) >= 7  # 9 to 11, unless the loop is held up


async def test_who_lost_connections_gets_the_next_ones(begin: Begin, connect: Connect) -> None:
    first = begin(0)
    begin(1)
    for client in [await connect() for _ in range(8)]:
        if await client.ask() == b"0!":
            client.writer.close()
    await until(lambda: not first.open)
    first.acceptor.tell()
    assert [await (await connect()).ask() for _ in range(3)] == [b"0!"] * 3


async def test_a_connection_that_those_with_fewer_do_not_take_is_taken(
    begin: Begin, path: Path, connect: Connect
) -> None:
    begin(0)
    for _ in range(1 + SLACK):
        await (await connect()).ask()
    Counts(path, 1).set(0)  # and takes nothing: it is busy
    began = time.monotonic()
    assert await (await connect()).ask() == b"0!"
    assert time.monotonic() - began >= PATIENCE_SECONDS


async def test_who_is_stopped_makes_nobody_slower(begin: Begin, path: Path, connect: Connect) -> None:
    process = begin(0)
    for _ in range(1 + SLACK):
        await (await connect()).ask()
    Counts(path, 1).set(0)
    await asyncio.sleep(SILENCE_SECONDS)
    rested = False

    async def look() -> None:
        nonlocal rested
        while True:
            rested = rested or process.acceptor.resting
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    assert await (await connect()).ask() == b"0!"
    looking.cancel()
    assert not rested


@pytest.mark.parametrize("when", ["watching", "resting"])
async def test_nothing_is_taken_after_the_end(begin: Begin, path: Path, connect: Connect, when: str) -> None:
    process = begin(0)
    for _ in range(1 + SLACK):
        await (await connect()).ask()
    other = Counts(path, 1)
    if when == "resting":
        other.set(0)
        late = await connect()
        await until(lambda: process.acceptor.resting)
    process.acceptor.close()
    process.acceptor.close()
    process.acceptor.tell()
    other.leave()
    assert Counts(path, 2).fewest_of_others() is None
    if when == "watching":
        late = await connect()
    with pytest.raises(TimeoutError):
        await late.ask(10 * PATIENCE_SECONDS)
    assert len(process.open) == 1 + SLACK


async def test_a_connection_that_is_made_while_the_server_ends_keeps_it_from_nothing(
    begin: Begin, connect: Connect
) -> None:
    process = begin(0)
    connecting = asyncio.create_task(connect())
    async with asyncio.timeout(5):
        while process.acceptor.making == 0:  # noqa: ASYNC110 -- the very turn of the loop in which it is taken
            await asyncio.sleep(0)
    process.acceptor.close()
    await process.acceptor.wait_closed()
    client = await connecting
    assert await asyncio.wait_for(client.reader.read(), 5) == b""
    await until(lambda: not process.open)


async def test_a_client_that_is_slow_with_tls_is_not_waited_for(
    begin: Begin, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "_GREETING_SECONDS", 0.05)
    process = begin(0, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    client = await connect()  # and says nothing
    await until(lambda: process.acceptor.making == 1)
    process.acceptor.close()
    await asyncio.wait_for(process.acceptor.wait_closed(), 5)
    with suppress(ConnectionError):
        assert await asyncio.wait_for(client.reader.read(), 5) == b""


async def test_without_files_it_waits_and_says_so(
    begin: Begin, connect: Connect, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "_FULL_SECONDS", 0.05)

    class Short(socket.socket):
        failures = 2

        def dup(self) -> "Short":
            return self

        def accept(self) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    with capture_logs() as logs:
        begin(0, Short(fileno=listener.dup().detach()))
        assert await (await connect()).ask() == b"0!"
    assert [entry["event"] for entry in logs] == ["no connection can be taken"] * 2
    assert "Too many open files" in logs[0]["reason"]


async def test_a_client_that_does_not_speak_tls_disturbs_nobody(begin: Begin, connect: Connect) -> None:
    process = begin(0, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # without a certificate
    client = await connect()
    client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with suppress(ConnectionError):
        await asyncio.wait_for(client.reader.read(), 5)
    await process.acceptor.wait_closed()
    assert not process.open


async def test_uvicorn_takes_part(
    path: Path, listener: socket.socket, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    monkeypatch.setattr(uvicorn, "Server", uvicorn.Server)  # put back afterwards
    share_connections(Counts(path, 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]))
    other = Counts(path, 1)
    await until(lambda: other.fewest_of_others() == 0)
    client = await connect()
    client.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (await asyncio.wait_for(client.reader.readline(), 5)).startswith(b"HTTP/1.1 204")
    assert other.fewest_of_others() == 1
    client.writer.close()
    await until(lambda: other.fewest_of_others() == 0)  # it tells by itself
    server.should_exit = True
    await asyncio.wait_for(serving, 10)
    assert other.fewest_of_others() is None
