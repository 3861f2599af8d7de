"""HAProxy's configuration, read by HAProxy; and a balancer whose servers come and go under it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crossmodal.encoder.wire import PATH
from loadtests.autoscaling.haproxy import BACKEND, Balancer, Refused, check, configuration
from tests.faults.checks import until
from tools.load import Client, request_bytes
from tools.servers import free_port

ASKED = request_bytes("POST", f"{PATH}/embed_texts", b"x" * 1000)


def written(folder: Path, **options: bool) -> Path:
    file = folder / "haproxy.cfg"
    file.write_text(configuration(port=free_port(), control=folder / "control", slots=["a", "b"], **options))
    return file


@pytest.mark.parametrize("again", [True, False])
def test_haproxy_finds_no_fault_with_it(tmp_path: Path, *, again: bool) -> None:
    check(written(tmp_path, again=again))


def test_it_would_find_one(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text().replace("balance leastconn", "balance leastcon"))
    with pytest.raises(Refused, match="leastcon"):
        check(file)


def test_it_listens_on_this_machine_alone(tmp_path: Path) -> None:
    bound = re.findall(r"^\s*bind (\S+?):", written(tmp_path).read_text(), re.MULTILINE)
    assert bound == ["127.0.0.1"]


class Answering:
    """A server that is ready and answers with its name; ``dies`` once: with the end of the connection and of itself."""

    def __init__(self, name: str, *, dies: bool = False, status: bytes = b"200 OK") -> None:
        self.name = name
        self.dies = dies
        self.status = status
        self.asked = 0
        self.release = asyncio.Event()
        self.release.set()
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self._server.sockets[0].getsockname()[1]
        finally:
            self._end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                await reader.readexactly(int(length[1]) if length else 0)
                status, body = b"200 OK", b"ready"
                if b"/readyz" not in head:
                    self.asked += 1
                    if self.dies:
                        self._end()
                        return
                    await self.release.wait()
                    status, body = self.status, self.name.encode()
                writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


async def in_two_parts(balancer: Balancer) -> tuple[str, bytes]:
    """Ask as clients do that send head and body one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(balancer.url.rpartition(":")[2]))
    for part in (ASKED[:-1000], ASKED[-1000:]):
        writer.write(part)
        await asyncio.sleep(0.05)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    writer.close()
    return head[9:12].decode(), body


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    balancer = Balancer(tmp_path, free_port(), slots=3)
    yield balancer
    balancer.stop()


async def test_requests_go_to_whoever_is_in_the_pool(balancer: Balancer) -> None:
    client = Client(balancer.url)
    first, second = Answering("first"), Answering("second")
    one, two, _ = balancer.slots
    async with first.serving() as port, second.serving() as other:
        assert (await client.exchange(ASKED))[0] == "503"  # nobody is there
        balancer.add(one, port)
        assert {await client.exchange(ASKED) for _ in range(4)} == {("200", b"first")}
        balancer.add(two, other)
        assert {(await client.exchange(ASKED))[1] for _ in range(10)} == {b"first", b"second"}
        first.release.clear()
        under_way = [asyncio.create_task(client.exchange(ASKED)) for _ in range(2)]
        await asyncio.to_thread(until, lambda: balancer.in_flight(one) == 1, within=5)
        balancer.drain(one)
        assert {(await client.exchange(ASKED))[1] for _ in range(6)} == {b"second"}
        assert balancer.in_flight(one) == 1
        first.release.set()
        assert {await each for each in under_way} == {("200", b"first"), ("200", b"second")}
        balancer.remove(one)
        assert balancer.in_flight(one) == 0
        balancer.add(one, other)  # the slot is free for another
        assert {(await client.exchange(ASKED))[1] for _ in range(4)} == {b"second"}
    await client.close()


@pytest.mark.parametrize("fault", [{"dies": True}, {"status": b"503 Service Unavailable"}], ids=["dies", "says 503"])
async def test_what_one_does_not_answer_another_does(balancer: Balancer, fault: dict[str, object]) -> None:
    failing, sound = Answering("failing", **fault), Answering("sound")  # type: ignore[arg-type]  # of two types
    async with failing.serving() as port, sound.serving() as other:
        balancer.add(balancer.slots[0], port)
        balancer.add(balancer.slots[1], other)
        answers = [await in_two_parts(balancer) for _ in range(6)]
    assert set(answers) == {("200", b"sound")}
    assert failing.asked >= 1
    assert balancer.sent_again()[1] >= 1


async def test_elsewhere_nothing_is_sent_again(balancer: Balancer) -> None:
    client = Client(balancer.url)
    failing, sound = Answering("failing", dies=True), Answering("sound")
    async with failing.serving() as port, sound.serving() as other:
        balancer.add(balancer.slots[0], port)
        balancer.add(balancer.slots[1], other)
        answers = [await client.exchange(request_bytes("POST", "/elsewhere", b"x")) for _ in range(4)]
    assert min(answers) == ("200", b"sound")
    assert [status for status, _ in answers if status != "200"] == ["502"]
    await client.close()


async def test_what_is_told_wrongly_is_refused(balancer: Balancer) -> None:
    with pytest.raises(Refused, match="nobody"):
        balancer.drain("nobody")
    assert BACKEND in balancer.tell("show backend")
