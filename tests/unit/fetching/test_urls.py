from ipaddress import ip_address

import pytest

from crossmodal.errors import ValidationFailed
from crossmodal.fetching.urls import MAX_CHARS, Target, parse_url, redirected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://example.org", Target("http", "example.org", 80, "/")),
        ("https://example.org/", Target("https", "example.org", 443, "/")),
        ("HTTPS://Example.ORG:8443/A%2fb?c=d&e#f?g", Target("https", "example.org", 8443, "/A%2fb?c=d&e")),
        ("http://example.org?q", Target("http", "example.org", 80, "/?q")),
        ("http://example.org#f", Target("http", "example.org", 80, "/")),
        ("http://my_bucket.s3-1.example.org/a/../b", Target("http", "my_bucket.s3-1.example.org", 80, "/a/../b")),
        ("http://xn--bcher-kva.example/", Target("http", "xn--bcher-kva.example", 80, "/")),
        ("http://1.example/", Target("http", "1.example", 80, "/")),
        ("http://example.org/b\u00fccher?\u00fc=<", Target("http", "example.org", 80, "/b%C3%BCcher?%C3%BC=%3C")),
        ("http://192.0.2.1:81/", Target("http", "192.0.2.1", 81, "/", ip_address("192.0.2.1"))),
        ("http://[2001:DB8::0:1]/", Target("http", "2001:db8::1", 80, "/", ip_address("2001:db8::1"))),
    ],
)
def test_it_is_read(text: str, expected: Target) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("http://example.org:80/", "example.org"),
        ("http://example.org:443/", "example.org:443"),
        ("https://example.org:443/", "example.org"),
        ("https://[::1]:8443/", "[::1]:8443"),
        ("https://[::1]/", "[::1]"),
    ],
)
def test_the_host_header_names_the_port_only_where_it_must(text: str, authority: str) -> None:
    assert parse_url(text).authority == authority


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://example.org/" + "a" * MAX_CHARS, f"at most {MAX_CHARS}"),
        ("http://user:secret@example.org/", "user name or a password"),
        ("http://exam ple.org/", "white space"),
        ("http://example.org\\", "backslash"),
        ("http:example.org", "must be http://HOST/"),
        ("http://example.org:99999/", "port is not one of 1 to 65535"),
        ("http://example.org:secret/", "HOST or HOST:PORT"),
        ("http://b\u00fccher.example/", "HOST or HOST:PORT in ASCII"),
        ("http://\u212a.example/", "HOST or HOST:PORT in ASCII"),  # the Kelvin sign, a k in lower case
        ("http://-a.example/", "name of ASCII letters"),
        ("http://a..example/", "name of ASCII letters"),
        ("http://example.org./", "without a dot at its end"),
        (f"http://{'a' * 64}.example/", "name of ASCII letters"),
        (f"http://{'a.' * 127}example/", "name of ASCII letters"),
        ("http://127.1/", "four decimal numbers"),
        ("http://0x7f/", "four decimal numbers"),
        ("http://example.1/", "four decimal numbers"),
        ("http://[::1/", "HOST or HOST:PORT"),
        ("http://[fe80::1%eth0]/", "zone"),
        ("http://[1.2.3.4]/", "not an IPv6 address"),
    ],
)
def test_it_is_refused_with_the_reason_and_without_what_came(text: str, reason: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_url(text)
    assert reason in caught.value.detail
    assert "secret" not in caught.value.detail


BASE = parse_url("https://example.org/a/b?c")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        (b"d", "https://example.org/a/d"),
        (b"/d?e#f", "https://example.org/d?e"),
        (b"?e", "https://example.org/a/b?e"),
        (b"//other.example/d", "https://other.example/d"),
        (b"http://other.example:81/d", "http://other.example:81/d"),
        (b"", "https://example.org/a/b?c"),
    ],
)
def test_a_redirect_is_joined(location: bytes, url: str) -> None:
    assert redirected(BASE, location).url == url


@pytest.mark.parametrize(
    "location",
    [
        b"/d e",
        b"\\\\other.example",
        b"/\xc3\xa9",
        b"ht\ttp://x/",
        b"//x\t.example/",
        b"/a\tb",
        b"/a\r\nb",
        b"http://[x",
        b"a:b",
    ],
)
def test_a_strange_redirect_is_refused(location: bytes) -> None:
    with pytest.raises(ValidationFailed):
        redirected(BASE, location)
