"""The one form of URL that is fetched. Parsers differ in what they make of the others, which is what attacks live on.

``scheme://host[:port][/path][?query][#fragment]`` with scheme http or https; the host a name of ASCII letters, digits,
``-`` and ``_``, an IPv4 address of four plain decimal numbers, or an IPv6 address in brackets. No user name or
password, no white space, control character or backslash, no dot at the end of the host. A name whose last label is a
number would be read as an address by some resolvers (``127.1``, ``0x7f.1``, ``2130706433``) and is refused. Names in
other scripts must be written in their ASCII form (``xn--``): turning them into it folds characters, full-width digits
and dots among them.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

from crossmodal.errors import ValidationFailed
from crossmodal.fetching.addresses import Address

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_CHARS = 4096
_MAX_HOST = 253
_MAX_PORT = 65_535

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?",
    re.IGNORECASE | re.ASCII,  # without ASCII, the long s of U+017F is an s
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?P<port>:[0-9]{1,5})?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")
_KEPT = "/?%!$&'()*+,;=:@-._~[]"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was read. ``host`` is lower case, without brackets; ``address`` is set if it is one."""

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None = None

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in its normal form, without the fragment."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(text: str) -> Target:
    """Read a URL. Raises ``ValidationFailed``, which says what is wrong with its form and repeats nothing of it."""
    if len(text) > MAX_CHARS:
        raise ValidationFailed(f"The URL of the picture has {len(text)} characters; at most {MAX_CHARS} are allowed.")
    if _FORBIDDEN.search(text):
        raise ValidationFailed("The URL of the picture holds white space, a control character or a backslash.")
    found = _URL.fullmatch(text)
    if found is None:
        raise ValidationFailed("The URL of the picture must be http://HOST/... or https://HOST/...")
    scheme = found["scheme"].lower()
    host, port, address = _authority(found["authority"])
    path = quote((found["path"] or "/") + (found["query"] or ""), safe=_KEPT)
    return Target(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, path, address)


def redirected(base: Target, location: bytes) -> Target:
    """Where a redirect of ``base`` leads: ``location`` may be relative. Raises ``ValidationFailed`` as ``parse_url``.

    The standard library joins the two and is lenient, so what it would silently drop is refused before.
    """
    text = location.decode("ascii", errors="surrogateescape")
    if _FORBIDDEN.search(text):
        raise ValidationFailed("The server of the picture redirects to something that is not a URL.")
    try:
        return parse_url(urljoin(base.url, text))
    except ValueError as error:
        raise ValidationFailed("The server of the picture redirects to something that is not a URL.") from error


def split_host(text: str) -> tuple[str, int | None, Address | None]:
    """Read ``host`` or ``host:port``: host in lower case without brackets, port, address. Raises ``ValueError``."""
    found = _AUTHORITY.fullmatch(text) if text.isascii() else None  # lower() turns some other characters into ASCII
    if found is None:
        raise ValueError("it is not HOST or HOST:PORT in ASCII")
    port = None if found["port"] is None else int(found["port"][1:])
    if port is not None and not 0 < port <= _MAX_PORT:
        raise ValueError(f"its port is not one of 1 to {_MAX_PORT}")
    host, address = _host(found["host"].lower())
    return host, port, address


def _authority(text: str) -> tuple[str, int | None, Address | None]:
    if "@" in text:
        raise ValidationFailed("The URL of the picture holds a user name or a password; none is sent.")
    try:
        return split_host(text)
    except ValueError as error:
        raise ValidationFailed(f"The host of the picture's URL cannot be used: {error}.") from error


def _host(text: str) -> tuple[str, Address | None]:
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except AddressValueError as error:
            raise ValueError("what stands in brackets is not an IPv6 address") from error
        if address.scope_id is not None:
            raise ValueError("an IPv6 address with a zone means something on one machine only")
        return address.compressed, address
    labels = text.split(".")
    if len(text) > _MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("it must be a name of ASCII letters, digits and '-', without a dot at its end, or an address")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return text, IPv4Address(text)
        except AddressValueError as error:
            raise ValueError("an IPv4 address must be four decimal numbers without leading zeros") from error
    return text, None
