"""What an IP address is: one anybody may be sent to, one of a network of the operator's own, or neither.

IPv4 is refused by a list of ranges, taken from the IANA registry of special-purpose addresses (RFC 6890 and the RFCs
named below). IPv6 is the other way round: only global unicast, 2000::/3, can be public, and the special ranges inside
it are taken out. That leaves no room for the forms of IPv6 that carry an IPv4 address and lie outside (mapped,
compatible, NAT64); those that lie inside (6to4, Teredo, ISATAP) are refused whatever address they carry.
"""

from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address


class Reach(Enum):
    """Who may be sent to an address."""

    PUBLIC = "public"
    """Anybody: it is reached over the Internet, from anywhere."""
    INTERNAL = "internal"
    """Only to a host the operator named for it: private networks and this machine."""
    NEVER = "never"
    """Nobody: metadata services, link-local, multicast, reserved, tunnels, and what has no meaning as a destination."""


Judge = Callable[[Address], Reach]

_METADATA = frozenset(
    {
        IPv4Address("169.254.169.254"),  # most clouds; link-local anyway
        IPv4Address("100.100.100.200"),  # Alibaba Cloud, inside the shared range
        IPv4Address("168.63.129.16"),  # Azure's WireServer, which looks public
        IPv4Address("192.0.0.192"),  # Oracle Cloud, inside the protocol assignments
        IPv6Address("fd00:ec2::254"),  # AWS, inside unique local
        IPv6Address("fd20:ce::254"),  # Google Cloud, inside unique local
    }
)

_INTERNAL_V4 = tuple(
    map(
        IPv4Network,
        (
            "10.0.0.0/8",  # private, RFC 1918
            "100.64.0.0/10",  # shared by carriers and clusters, RFC 6598
            "127.0.0.0/8",  # loopback, RFC 1122
            "172.16.0.0/12",  # private
            "192.168.0.0/16",  # private
        ),
    )
)
_INTERNAL_V6 = tuple(map(IPv6Network, ("::1/128", "fc00::/7")))  # loopback, RFC 4291; unique local, RFC 4193

_NEVER_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network, RFC 791: 0.0.0.0 reaches this machine
            "169.254.0.0/16",  # link-local, RFC 3927
            "192.0.0.0/24",  # protocol assignments, RFC 6890
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.31.196.0/24",  # AS112, RFC 7535
            "192.52.193.0/24",  # multicast tunnels, RFC 7450
            "192.88.99.0/24",  # 6to4 relays, RFC 7526
            "192.175.48.0/24",  # AS112, RFC 7534
            "198.18.0.0/15",  # benchmarks, RFC 2544
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast, RFC 5771
            "240.0.0.0/4",  # reserved, RFC 1112, and broadcast
        ),
    )
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NEVER_IN_GLOBAL_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, RFC 2928: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation, RFC 3849
            "2002::/16",  # 6to4, RFC 3056
            "2620:4f:8000::/48",  # AS112, RFC 7534
            "3fff::/20",  # documentation, RFC 9637
        ),
    )
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # upper half of the interface identifier, RFC 5214, 6.1


def reach_of(address: Address) -> Reach:
    """Say who may be sent to ``address``."""
    if address in _METADATA:
        return Reach.NEVER
    return _reach_v4(address) if isinstance(address, IPv4Address) else _reach_v6(address)


def _reach_v4(address: IPv4Address) -> Reach:
    if any(address in network for network in _INTERNAL_V4):
        return Reach.INTERNAL
    # The standard library's view is asked too: it knows assignments that came after this list.
    if any(address in network for network in _NEVER_V4) or not address.is_global:
        return Reach.NEVER
    return Reach.PUBLIC


def _reach_v6(address: IPv6Address) -> Reach:
    if address.scope_id is not None:  # means something on one interface of this machine only
        return Reach.NEVER
    if any(address in network for network in _INTERNAL_V6):
        return Reach.INTERNAL
    if address not in _GLOBAL_UNICAST or any(address in network for network in _NEVER_IN_GLOBAL_V6):
        return Reach.NEVER
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP or not address.is_global:
        return Reach.NEVER
    return Reach.PUBLIC
