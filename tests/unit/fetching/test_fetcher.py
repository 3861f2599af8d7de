import asyncio
import gzip

import httpcore
import pytest

from crossmodal.errors import Overloaded, PayloadTooLarge, ValidationFailed
from crossmodal.fetching import fetcher as module
from crossmodal.fetching.addresses import Reach
from crossmodal.fetching.policy import UNREACHABLE
from tests.fakes import FakeResolver
from tests.unit.fetching.conftest import PUBLIC, Build, free
from tests.webserver import WebServer, ok, redirect

LIMIT = 1000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def at(site: WebServer, path: str = "/x.png", host: str = "site.test") -> str:
    return f"http://{host}:{site.port}{path}"


async def refusal(build: Build, site: WebServer, answer: bytes) -> str:
    """The sentence for a site that answers this."""
    site.answers = {"/x.png": answer}
    with pytest.raises(ValidationFailed) as caught:
        await build().fetch(at(site), free)
    return caught.value.detail


async def test_the_bytes_come_as_they_are_and_are_counted(build: Build, site: WebServer) -> None:
    content = bytes(range(250)) * 4
    site.answers = {"/x.png": ok(content, "Content-Type: text/html")}
    counted: list[int] = []
    assert await build().fetch(at(site), counted.append) == content
    assert sum(counted) == len(content) == LIMIT


async def test_only_what_is_needed_is_sent(build: Build, site: WebServer) -> None:
    site.answers = {"/a%20b/%C3%A9.png?q=%22": ok(b"1")}
    assert await build().fetch(at(site, '/a%20b/\u00e9.png?q="#part'), free) == b"1"
    line, *headers = site.requests[0].strip().split("\r\n")
    assert line == "GET /a%20b/%C3%A9.png?q=%22 HTTP/1.1"
    assert sorted(header.partition(":")[0].lower() for header in headers) == [
        "accept",
        "accept-encoding",
        "connection",
        "host",
        "user-agent",
    ]
    assert f"Host: site.test:{site.port}" in headers
    assert "Accept-Encoding: identity" in headers


async def test_an_address_is_asked_without_a_name_server(build: Build, site: WebServer, resolver: FakeResolver) -> None:
    site.answers = {"/x.png": ok(b"1")}
    assert await build().fetch(at(site, host=PUBLIC), free) == b"1"
    assert resolver.asked == []


async def test_the_next_address_is_tried_if_one_does_not_answer(build: Build, site: WebServer) -> None:
    site.answers = {"/x.png": ok(b"second")}
    answers = {"two.test": [["127.0.0.78", PUBLIC]]}  # nobody listens at the first
    fetcher = build(resolver=FakeResolver(answers), judge=lambda _: Reach.PUBLIC)
    assert await fetcher.fetch(at(site, host="two.test"), free) == b"second"


async def test_redirects_are_followed_three_times(build: Build, site: WebServer) -> None:
    site.answers = {
        "/0": redirect("/1", 301),
        "/1": redirect("2?q", 303),
        "/2?q": redirect(at(site, "/3#part"), 308),
        "/3": ok(b"there"),
        "/more": redirect("/0", 307),
    }
    assert await build().fetch(at(site, "/0"), free) == b"there"
    assert site.connections == 4
    with pytest.raises(ValidationFailed, match="redirects more than 3 times"):
        await build().fetch(at(site, "/more"), free)
    assert site.connections == 8


async def test_a_redirect_carries_nothing_along(build: Build, site: WebServer) -> None:
    site.answers = {
        "/x.png": redirect("/y.png").replace(b"\r\n", b"\r\nSet-Cookie: session=1\r\n", 1),
        "/y.png": ok(b"1"),
    }
    await build().fetch(at(site), free)
    assert "cookie" not in site.requests[1].lower()
    assert "referer" not in site.requests[1].lower()


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 418, 500, 503])
async def test_another_status_is_told_and_nothing_else(build: Build, site: WebServer, status: int) -> None:
    head = f"HTTP/1.1 {status} inner-reason\r\nX-Secret: inner-header\r\n"
    body = "" if status in {204, 304} else "Content-Length: 10\r\n\r\ninner-body"
    detail = await refusal(build, site, (head + (body or "\r\n")).encode())
    assert detail == f"The server of the picture answered with status {status} instead of 200."


async def test_a_redirect_without_a_place_is_just_a_status(build: Build, site: WebServer) -> None:
    assert "status 302" in await refusal(build, site, b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, identity", "GZIP", "x-unknown"])
async def test_a_compressed_answer_is_refused_unread(build: Build, site: WebServer, encoding: str) -> None:
    bomb = gzip.compress(bytes(100_000))
    detail = await refusal(build, site, ok(bomb, f"Content-Encoding: {encoding}"))
    assert detail == "The server of the picture sends it compressed, which is not read."


async def test_identity_is_no_compression(build: Build, site: WebServer) -> None:
    site.answers = {"/x.png": ok(b"1", "Content-Encoding: Identity")}
    assert await build().fetch(at(site), free) == b"1"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",  # nothing follows: the header is enough
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(LIMIT + 1),
        CHUNKED + b"3e9\r\n" + bytes(LIMIT + 1) + b"\r\n0\r\n\r\n",
        CHUNKED + b"fffffffff\r\n" + bytes(5000),
    ],
)
async def test_too_many_bytes(build: Build, site: WebServer, answer: bytes) -> None:
    site.answers = {"/x.png": answer}
    with pytest.raises(PayloadTooLarge, match="more than the 1000 bytes"):
        await build().fetch(at(site), free)


async def test_a_stream_without_end_is_left_at_the_limit(build: Build, site: WebServer) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 2**30:
            writer.write(bytes(2**16))
            await writer.drain()
            sent += 2**16

    site.answers = {"/x.png": endless}
    with pytest.raises(PayloadTooLarge):
        await build().fetch(at(site), free)
    assert sent < 2**26  # what buffers hold, not what the server would like to send


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Drip: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
    ],
)
async def test_a_dripping_server_ends_at_the_time_cap(build: Build, site: WebServer, start: bytes) -> None:
    gone = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        try:
            while True:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            gone.set()

    site.answers = {"/x.png": drip if start else lambda _: asyncio.sleep(1)}
    began = asyncio.get_running_loop().time()
    with pytest.raises(ValidationFailed, match=r"did not arrive from its URL within 0\.3 s"):
        await build(seconds=0.3).fetch(at(site), free)
    assert asyncio.get_running_loop().time() - began < 4
    if start:
        await asyncio.wait_for(gone.wait(), 5)  # the connection was closed, not forgotten


async def test_redirects_share_one_time(build: Build, site: WebServer) -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.25)
        writer.write(redirect("/x.png"))

    site.answers = {"/x.png": late}
    with pytest.raises(ValidationFailed, match=r"within 0\.4 s"):
        await build(seconds=0.4).fetch(at(site), free)
    assert site.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x16\x03\x01",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        CHUNKED + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    ],
    ids=range(11),
)
async def test_what_is_no_http_is_no_answer(build: Build, site: WebServer, answer: bytes) -> None:
    assert await refusal(build, site, answer) == UNREACHABLE


async def test_interim_answers_without_end_are_left_soon(build: Build, site: WebServer) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 500
        while sent < 2**28:
            writer.write(interim)
            await writer.drain()
            sent += len(interim)

    site.answers = {"/x.png": endless}
    with pytest.raises(ValidationFailed) as caught:
        await build(seconds=60).fetch(at(site), free)
    assert caught.value.detail == UNREACHABLE
    assert sent < 2**25  # what buffers hold


async def test_a_body_in_crumbs_is_refused(build: Build, site: WebServer) -> None:
    """Each chunk costs the event loop some time, so few bytes in many chunks would be a way to stop everybody."""
    crumbs = 5000
    site.answers = {"/x.png": CHUNKED + b"1\r\na\r\n" * crumbs + b"0\r\n\r\n"}
    with pytest.raises(ValidationFailed) as caught:
        await build(max_bytes=10_000).fetch(at(site), free)
    assert caught.value.detail == UNREACHABLE
    site.answers = {"/x.png": CHUNKED + b"1\r\na\r\n" * 4000 + b"0\r\n\r\n"}
    assert await build(max_bytes=10_000).fetch(at(site), free) == b"a" * 4000


async def test_what_counts_the_bytes_may_end_it(build: Build, site: WebServer) -> None:
    def stop(_: int) -> None:
        raise PayloadTooLarge("enough")

    site.answers = {"/x.png": ok(b"1")}
    with pytest.raises(PayloadTooLarge, match="enough"):
        await build().fetch(at(site), stop)


async def test_more_than_the_limit_at_a_time_is_overload(
    build: Build, site: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def hold(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(ok(b"1"))

    monkeypatch.setattr(module, "_MAX_IN_FLIGHT", 2)
    site.answers = {"/x.png": hold}
    fetcher = build()
    running = [asyncio.create_task(fetcher.fetch(at(site), free)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="2 pictures are being fetched") as refused:
        await fetcher.fetch(at(site), free)
    assert refused.value.shed == "fetches"
    release.set()
    assert await asyncio.gather(*running) == [b"1", b"1"]
    assert await fetcher.fetch(at(site), free) == b"1"


def test_closing_closes_the_resolver(build: Build, resolver: FakeResolver) -> None:
    build().close()
    assert resolver.closed


def test_every_error_of_httpcore_is_foreseen() -> None:
    """Fails when httpcore gains one: decide then whether a fetch can meet it."""
    cannot_happen = {
        httpcore.ConnectionNotAvailable,  # a connection is used once
        httpcore.ProxyError,  # there is no proxy
        httpcore.UnsupportedProtocol,  # http and https only
    }
    exported = {getattr(httpcore, name) for name in httpcore.__all__}
    errors = {each for each in exported if isinstance(each, type) and issubclass(each, Exception)}
    assert {error for error in errors if not issubclass(error, module._FAILURES)} == cannot_happen
