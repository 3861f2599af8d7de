import pytest

from crossmodal.errors import ConfigurationError, ValidationFailed
from crossmodal.fetching import FetchPolicy, HostRule, HttpFetcher, host_rules
from crossmodal.fetching.addresses import Reach
from crossmodal.fetching.policy import UNREACHABLE
from crossmodal.fetching.urls import parse_url
from tests.fakes import FakeResolver
from tests.unit.fetching.conftest import free
from tests.webserver import WebServer, ok

PUBLIC = frozenset({Reach.PUBLIC})
EITHER = frozenset({Reach.PUBLIC, Reach.INTERNAL})
LISTED = FetchPolicy(
    hosts=host_rules(["example.org", ".cdn.example", "ports.example:8443", "192.0.2.1", "[2001:db8::1]:81"], "HOSTS"),
    private_hosts=host_rules(["Pictures:9000", "10.0.0.7"], "PRIVATE", subdomains=False),
)


@pytest.mark.parametrize(
    ("url", "reach"),
    [
        ("http://example.org/x.png", PUBLIC),
        ("https://EXAMPLE.org/x.png", PUBLIC),
        ("http://a.cdn.example/", PUBLIC),
        ("http://a.b.cdn.example/", PUBLIC),
        ("https://ports.example:8443/", PUBLIC),
        ("http://192.0.2.1/", PUBLIC),
        ("http://[2001:db8:0::1]:81/", PUBLIC),
        ("http://pictures:9000/", EITHER),
        ("http://10.0.0.7/", EITHER),
    ],
)
def test_listed_hosts_may_be_asked(url: str, reach: frozenset[Reach]) -> None:
    assert LISTED.allowed_reach(parse_url(url)) == reach


@pytest.mark.parametrize(
    "url",
    [
        "http://www.example.org/",
        "http://example.org.evil.example/",
        "http://notexample.org/",
        "http://example.org:8080/",
        "http://cdn.example/",
        "http://evilcdn.example/",
        "http://ports.example/",
        "https://ports.example/",
        "http://pictures/",
        "http://pictures:9001/",
        "http://10.0.0.8/",
        "http://10.0.0.7:8080/",
        "http://localhost/",
    ],
)
def test_others_may_not(url: str) -> None:
    with pytest.raises(ValidationFailed, match="not among those"):
        LISTED.allowed_reach(parse_url(url))


def test_any_host_is_asked_at_two_ports_unless_listed_with_another() -> None:
    policy = FetchPolicy(any_host=True, hosts=(HostRule("ports.example", 8443),), private_hosts=(HostRule("inner"),))
    for url in ("http://a.example/", "https://a.example/", "http://a.example:443/", "http://ports.example:8443/"):
        assert policy.allowed_reach(parse_url(url)) == PUBLIC
    assert policy.allowed_reach(parse_url("http://inner/")) == EITHER
    for url in ("http://a.example:8443/", "http://a.example:22/", "http://ports.example:8444/", "http://a:6333/"):
        with pytest.raises(ValidationFailed, match="only 80 and 443 are asked"):
            policy.allowed_reach(parse_url(url))
    with pytest.raises(ValidationFailed) as caught:
        policy.allowed_reach(parse_url("http://intranet/"))
    assert caught.value.detail == UNREACHABLE


@pytest.mark.parametrize(
    "entry",
    ["http://example.org", "example.org/", "*.example.org", "exa mple.org", "127.1", "example.org:0", ".", "a@b"],
)
def test_an_entry_that_is_no_host_is_named(entry: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        host_rules(["good.example", entry], "CROSSMODAL_FETCH_HOSTS")
    assert caught.value.detail.startswith(f"CROSSMODAL_FETCH_HOSTS: the entry {entry!r} cannot be used: ")


def test_a_whole_domain_cannot_be_private() -> None:
    with pytest.raises(ConfigurationError, match="each host must be named"):
        host_rules([".example.org"], "CROSSMODAL_FETCH_PRIVATE_HOSTS", subdomains=False)


@pytest.mark.parametrize(
    ("addresses", "private", "reached"),
    [
        (["127.0.0.1"], True, True),
        (["127.0.0.1"], False, False),
        (["169.254.169.254"], True, False),
        (["127.0.0.1", "169.254.169.254"], True, False),
        (["0.0.0.0"], True, False),
    ],
)
async def test_only_a_host_listed_as_private_may_be_private_and_never_the_metadata_service(
    trap: WebServer,
    addresses: list[str],
    private: bool,  # noqa: FBT001  a test's parameters
    reached: bool,  # noqa: FBT001
) -> None:
    trap.answers["/x.png"] = ok(b"inner")
    rules = (HostRule("pictures.test", trap.port),)
    policy = FetchPolicy(private_hosts=rules) if private else FetchPolicy(hosts=rules)
    fetcher = HttpFetcher(policy, max_bytes=100, resolver=FakeResolver({"pictures.test": [addresses]}))
    url = f"http://pictures.test:{trap.port}/x.png"
    if reached:
        assert await fetcher.fetch(url, free) == b"inner"
    else:
        with pytest.raises(ValidationFailed) as caught:
            await fetcher.fetch(url, free)
        assert caught.value.detail == UNREACHABLE
    assert trap.connections == reached
