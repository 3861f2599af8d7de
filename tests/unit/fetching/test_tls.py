"""TLS goes by the name in the URL, although the connection goes to an address."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from crossmodal.errors import ValidationFailed
from crossmodal.fetching import FetchPolicy, HttpFetcher
from crossmodal.fetching.policy import UNREACHABLE
from tests.fakes import FakeResolver
from tests.unit.fetching.conftest import PUBLIC, free, judge
from tests.webserver import WebServer, ok, redirect

AUTHORITY = trustme.CA()
"""Vouches for `pictures.test`; made anew for each run."""


@pytest.fixture
def names_asked() -> list[str | None]:
    """The names clients asked for in their handshakes (SNI)."""
    return []


@pytest.fixture
async def secure(names_asked: list[str | None]) -> AsyncIterator[WebServer]:
    """The public site over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("pictures.test").configure_cert(context)
    context.sni_callback = lambda _, name, __: names_asked.append(name)
    async with WebServer({"/x.png": ok(b"secure")}, hosts=(PUBLIC,), tls=context) as server:
        yield server


def trusting_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def fetcher(*ports: int, trusting: bool = True, seconds: float = 5.0, host: str = "other.test") -> HttpFetcher:
    return HttpFetcher(
        FetchPolicy(any_host=True, ports=frozenset(ports)),
        max_bytes=1000,
        seconds=seconds,
        resolver=FakeResolver({"pictures.test": [[PUBLIC]], host: [[PUBLIC]]}),
        judge=judge,
        tls=trusting_context() if trusting else None,
    )


async def test_the_name_is_asked_for_and_verified(secure: WebServer, names_asked: list[str | None]) -> None:
    assert await fetcher(secure.port).fetch(f"https://pictures.test:{secure.port}/x.png", free) == b"secure"
    assert names_asked == ["pictures.test"]


@pytest.mark.parametrize("host", ["other.test", PUBLIC])
async def test_a_certificate_of_another_name_is_refused(secure: WebServer, host: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await fetcher(secure.port).fetch(f"https://{host}:{secure.port}/x.png", free)
    assert caught.value.detail == UNREACHABLE
    assert secure.requests == []


async def test_a_certificate_nobody_vouches_for_is_refused(secure: WebServer) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await fetcher(secure.port, trusting=False).fetch(f"https://pictures.test:{secure.port}/x.png", free)
    assert caught.value.detail == UNREACHABLE
    assert secure.requests == []


async def test_a_redirect_may_lead_into_tls_but_not_out_of_it(secure: WebServer) -> None:
    async with WebServer(hosts=(PUBLIC,)) as plain:
        plain.answers = {"/x.png": redirect(f"https://pictures.test:{secure.port}/x.png"), "/y.png": ok(b"plain")}
        secure.answers["/out.png"] = redirect(f"http://pictures.test:{plain.port}/y.png")
        both = fetcher(secure.port, plain.port)
        assert await both.fetch(f"http://pictures.test:{plain.port}/x.png", free) == b"secure"
        with pytest.raises(ValidationFailed, match="from https to http"):
            await both.fetch(f"https://pictures.test:{secure.port}/out.png", free)
        assert plain.lines == ["GET /x.png HTTP/1.1"]


@pytest.mark.parametrize("host", ["my_bucket.test", "xn--zzzzzz.test", "ab--c.test", f"{'a' * 63}.test"])
async def test_an_odd_name_is_only_a_name(secure: WebServer, names_asked: list[str | None], host: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await fetcher(secure.port, host=host).fetch(f"https://{host}:{secure.port}/x.png", free)
    assert caught.value.detail == UNREACHABLE
    assert names_asked == [host]


async def test_a_record_that_was_tampered_with_is_no_answer(secure: WebServer) -> None:
    async def tamper(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\npart")
        await writer.drain()
        beneath = writer.get_extra_info("socket").fileno()
        os.write(beneath, b"\x17\x03\x03\x00\x20" + bytes(32))  # application data that does not decrypt

    secure.answers["/x.png"] = tamper
    with pytest.raises(ValidationFailed) as caught:
        await fetcher(secure.port).fetch(f"https://pictures.test:{secure.port}/x.png", free)
    assert caught.value.detail == UNREACHABLE


@pytest.fixture
async def silent() -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """A server that never says a word: its port, and whether a client has come and has gone."""
    came, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()  # returns when the client has closed
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, PUBLIC, 0, family=socket.AF_INET)
    yield server.sockets[0].getsockname()[1], came, gone
    server.close()
    await server.wait_closed()


async def test_a_handshake_that_never_ends_is_cut_off(silent: tuple[int, asyncio.Event, asyncio.Event]) -> None:
    port, _, gone = silent
    with pytest.raises(ValidationFailed) as caught:
        await fetcher(port, seconds=0.5).fetch(f"https://pictures.test:{port}/x.png", free)
    assert caught.value.detail == UNREACHABLE
    await asyncio.wait_for(gone.wait(), 5)


async def test_a_fetch_cancelled_in_its_handshake_leaves_no_connection(
    silent: tuple[int, asyncio.Event, asyncio.Event],
) -> None:
    port, came, gone = silent
    fetching = asyncio.create_task(fetcher(port).fetch(f"https://pictures.test:{port}/x.png", free))
    await came.wait()
    await asyncio.sleep(0.05)  # into the handshake
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    await asyncio.wait_for(gone.wait(), 5)
