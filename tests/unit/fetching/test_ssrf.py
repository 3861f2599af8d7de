"""Every way known to us to make a fetcher reach what is not public, and the canary that would tell."""

import socket

import httpx
import pytest

from crossmodal.errors import ClientError, ValidationFailed
from crossmodal.fetching.addresses import Reach
from crossmodal.fetching.policy import UNREACHABLE
from tests.fakes import FakeResolver
from tests.ssrf import FORMS, LOOPBACK, MALFORMED, Form
from tests.unit.fetching.conftest import PUBLIC, Build, free
from tests.webserver import WebServer, ok, redirect


@pytest.mark.parametrize("form", FORMS, ids=lambda form: ascii(form.url))
async def test_it_is_refused_and_nobody_is_asked(build: Build, trap: WebServer, form: Form) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await build().fetch(form.at(trap.port), free)
    assert (caught.value.detail == UNREACHABLE) is form.by_address
    assert trap.connections == 0


@pytest.mark.parametrize("url", LOOPBACK)
async def test_without_the_check_of_addresses_the_canary_is_reached(build: Build, trap: WebServer, url: str) -> None:
    """The planted fault: what the tests above look for can be seen."""
    fetcher = build(judge=lambda _: Reach.PUBLIC)
    try:
        await fetcher.fetch(url.replace("{port}", str(trap.port)), free)
    except ValidationFailed:
        assert trap.lines == ["GET /?@example.org/ HTTP/1.1"]  # the canary knows no such page
    assert trap.connections == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127\u30020\u30020\u30021:{port}/",
        "http://127\uff0e0\uff0e0\uff0e1:{port}/",
        "http://example.org@127.0.0.1:{port}/",
        "http://example.org:80@127.0.0.1:{port}/",
        "http://example.org\\@127.0.0.1:{port}/",
        "http://[::1]{port}/",
        "http://127.0.0.1:+{port}/",
    ],
)
async def test_an_ordinary_client_is_led_to_the_canary(trap: WebServer, url: str) -> None:
    """Forms that are refused for their looks are no straw men. Only such are tried here as make no name server asked."""
    assert url in MALFORMED
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        await client.get(url.replace("{port}", str(trap.port)))
    assert trap.connections == 1


def test_resolvers_read_the_other_forms_of_ipv4_as_loopback() -> None:
    hosts = {url.removeprefix("http://").partition(":")[0] for url in MALFORMED if url.startswith("http://")}
    read = {host for host in hosts if _as_old_resolvers(host) in {"127.0.0.1", "0.0.0.0"}}
    assert read >= {"2130706433", "0x7f000001", "017700000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "0"}


def _as_old_resolvers(host: str) -> str | None:
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


CLASSES = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://inner.test:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://2130706433:{port}/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://224.0.0.1/",
    "http://[fd00:ec2::254]/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "\\\\127.0.0.1:{port}\\",
    "http:\t//127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\xff/",
    "http://127.0.0.1:22/",
    "file:///etc/hostname",
    "gopher://127.0.0.1:{port}/",
    "http://[::1",
    "http://[v1.x]/",
]


@pytest.mark.parametrize("location", CLASSES)
@pytest.mark.parametrize("hops", [0, 1])
async def test_a_redirect_leads_no_further_than_a_client_could_go_itself(
    build: Build, site: WebServer, trap: WebServer, location: str, hops: int
) -> None:
    site.answers = {"/x.png": redirect(location.format(port=trap.port)), "/start": redirect("/x.png", 307)}
    with pytest.raises(ValidationFailed) as caught:
        await build().fetch(f"http://site.test:{site.port}/{'start' if hops else 'x.png'}", free)
    assert site.connections == hops + 1
    assert trap.connections == 0
    assert "127.0.0.1" not in caught.value.detail


async def test_a_name_that_changes_its_address_is_asked_once(build: Build, site: WebServer, trap: WebServer) -> None:
    resolver = FakeResolver({"rebinding.test": [[PUBLIC], ["127.0.0.1"]]})
    site.answers = {"/x.png": ok(b"public")}
    fetcher = build(resolver=resolver)
    assert await fetcher.fetch(f"http://rebinding.test:{site.port}/x.png", free) == b"public"
    assert resolver.asked == ["rebinding.test"]
    with pytest.raises(ValidationFailed, match="host does not answer"):
        await fetcher.fetch(f"http://rebinding.test:{trap.port}/x.png", free)
    assert trap.connections == 0


async def test_a_name_that_changes_its_address_between_redirects(
    build: Build, site: WebServer, trap: WebServer
) -> None:
    resolver = FakeResolver({"rebinding.test": [[PUBLIC], ["127.0.0.1"]]})
    site.answers = {"/x.png": redirect(f"http://rebinding.test:{trap.port}/x.png")}
    with pytest.raises(ValidationFailed) as caught:
        await build(resolver=resolver).fetch(f"http://rebinding.test:{site.port}/x.png", free)
    assert caught.value.detail == UNREACHABLE
    assert (site.connections, trap.connections) == (1, 0)


@pytest.mark.parametrize(
    "answer", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "::1"], [PUBLIC, "10.0.0.1"]]
)
async def test_one_bad_address_refuses_a_name(
    build: Build, site: WebServer, trap: WebServer, answer: list[str]
) -> None:
    fetcher = build(resolver=FakeResolver({"mixed.test": [answer]}))
    for port in (site.port, trap.port):
        with pytest.raises(ValidationFailed) as caught:
            await fetcher.fetch(f"http://mixed.test:{port}/x.png", free)
        assert caught.value.detail == UNREACHABLE
    assert (site.connections, trap.connections) == (0, 0)


async def test_absent_private_and_silent_hosts_cannot_be_told_apart(build: Build, site: WebServer) -> None:
    answers = {"private.test": [["10.0.0.1"]], "silent.test": [[PUBLIC]], "metadata.test": [["169.254.169.254"]]}
    fetcher = build(resolver=FakeResolver(answers))
    await site.__aexit__()  # nobody listens at its port any more
    details = set()
    for name in ("absent.test", "private.test", "silent.test", "metadata.test", "localhost"):
        with pytest.raises(ClientError) as caught:
            await fetcher.fetch(f"http://{name}:{site.port}/x.png", free)
        details.add((type(caught.value), caught.value.detail))
    assert details == {(ValidationFailed, UNREACHABLE)}


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
async def test_a_proxy_of_the_environment_is_not_used(
    build: Build, site: WebServer, trap: WebServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    site.answers = {"/x.png": ok(b"direct")}
    assert await build().fetch(f"http://site.test:{site.port}/x.png", free) == b"direct"
    assert (site.connections, trap.connections) == (1, 0)
