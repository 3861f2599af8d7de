"""Servers on loopback, one of whose addresses counts as public here."""

import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address

import pytest

from crossmodal.fetching import FetchPolicy, HostRule, HttpFetcher
from crossmodal.fetching.addresses import Address, Reach, reach_of
from tests.fakes import FakeResolver
from tests.webserver import WebServer, canary

PUBLIC = "127.0.0.77"
"""Stands for an address of the Internet; every other one is what it is."""

Build = Callable[..., HttpFetcher]


def judge(address: Address) -> Reach:
    return Reach.PUBLIC if address == ip_address(PUBLIC) else reach_of(address)


def free(_: int) -> None:
    """Nothing is counted."""


@pytest.fixture
async def trap() -> AsyncIterator[WebServer]:
    """The canary."""
    async with canary() as server:
        yield server


@pytest.fixture
async def site() -> AsyncIterator[WebServer]:
    """A public web site: `site.test`, and whatever else a test's resolver calls by its address."""
    async with WebServer(hosts=(PUBLIC,)) as server:
        yield server


@pytest.fixture
def resolver(site: WebServer) -> FakeResolver:
    del site
    return FakeResolver({"site.test": [[PUBLIC]], "localhost": [["127.0.0.1", "::1"]], "inner.test": [["127.0.0.1"]]})


@pytest.fixture
def build(site: WebServer, trap: WebServer, resolver: FakeResolver) -> Build:
    """A fetcher of any host at the ports of both servers, so that ports are not what refuses anything."""
    ports = frozenset({80, 443, site.port, trap.port})

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; reading the system's authorities takes a while

    def build(**changed: object) -> HttpFetcher:
        policy = FetchPolicy(any_host=True, hosts=(HostRule("localhost", trap.port),), ports=ports)
        given = {"policy": policy, "max_bytes": 1000, "seconds": 5.0, "resolver": resolver, "judge": judge, "tls": tls}
        given |= changed
        return HttpFetcher(**given)  # type: ignore[arg-type]  # keyword arguments of a test, each right by itself

    return build
