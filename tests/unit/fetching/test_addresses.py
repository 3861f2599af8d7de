from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.fetching.addresses import Reach, reach_of


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "168.63.129.15",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2001:200::1",
        "2003::1",
        "2a00:1450:4001:80b::200e",
        "2600:1234::5eff:7f00:1",
    ],
)
def test_public(text: str) -> None:
    assert reach_of(ip_address(text)) is Reach.PUBLIC


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.0.0",
        "192.168.255.255",
        "::1",
        "fc00::1",
        "fdff:ffff::1",
    ],
)
def test_internal(text: str) -> None:
    assert reach_of(ip_address(text)) is Reach.INTERNAL


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "0.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.2.255",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.175.48.1",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "::",
        "::2",
        "::7f00:1",
        "::ffff:8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:20::1",
        "2001:db8::1",
        "2002::1",
        "2002:808:808::1",
        "2620:4f:8000::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fe80::1",
        "fe80::5efe:808:808",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1%eth0",
        "2606:4700:4700::1111%eth0",
        "2600:1234::5efe:8.8.8.8",
        "2600:1234::200:5efe:8.8.8.8",
    ],
)
def test_never(text: str) -> None:
    assert reach_of(ip_address(text)) is Reach.NEVER


@given(st.ip_addresses())
def test_what_the_standard_library_calls_special_is_not_public(address: object) -> None:
    """``hypothesis`` draws from the registries of special addresses more often than chance would."""
    known = ip_address(str(address))
    if known.is_private or known.is_multicast or known.is_reserved or known.is_link_local or not known.is_global:
        assert reach_of(known) is not Reach.PUBLIC
