"""Ways to write a URL that reaches where it must not: the matrix both the unit and the end-to-end tests send.

``{port}`` stands for the port of a canary on 127.0.0.1 and ::1. None of the forms makes a name server be asked: they
hold addresses, ``localhost``, or what must be refused before that.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """``by_address``: the URL is well formed, so only the check of its address can refuse it.

    ``reaches``: it does reach the canary where nothing checks addresses.
    """

    url: str
    by_address: bool = False
    reaches: bool = False

    def at(self, port: int) -> str:
        return self.url.replace("{port}", str(port))


LOOPBACK = [
    "http://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}",
    "http://127.0.0.1:{port}#@example.org/",
    "http://127.0.0.1:{port}?@example.org/",
    "http://0.0.0.0:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[0000::0001]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::FFFF:7F00:0001]:{port}/",
    "http://[::]:{port}/",
]
"""Well formed, and at the canary."""

ELSEWHERE = [
    "http://127.1.2.3:{port}/",
    "https://127.0.0.1:{port}/",  # the canary would not get past the handshake
    # private and shared
    "http://10.0.0.1/x.png",
    "http://172.16.0.1/x.png",
    "http://172.31.255.255/x.png",
    "http://192.168.0.1/x.png",
    "http://100.64.0.1/x.png",
    # metadata of clouds
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine?comp=goalstate",
    "http://192.0.0.192/latest/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://[::ffff:a9fe:a9fe]/latest/meta-data/",
    # reserved for other purposes
    "http://0.0.0.1/x.png",
    "http://0.1.2.3/x.png",
    "http://192.0.2.1/x.png",
    "http://192.88.99.1/x.png",
    "http://198.18.0.1/x.png",
    "http://198.19.255.255/x.png",
    "http://198.51.100.1/x.png",
    "http://203.0.113.1/x.png",
    "http://224.0.0.1/x.png",
    "http://240.0.0.1/x.png",
    "http://255.255.255.255/x.png",
    # IPv6 of one network, and IPv4 in IPv6
    "http://[fc00::1]/x.png",
    "http://[fd12:3456:789a::1]/x.png",
    "http://[fe80::1]/x.png",
    "http://[fec0::1]/x.png",
    "http://[ff02::1]/x.png",
    "http://[100::1]/x.png",
    "http://[2001:db8::1]/x.png",
    "http://[3fff::1]/x.png",
    "http://[::127.0.0.1]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2002:a9fe:a9fe::1]/latest/meta-data/",
    "http://[2001:0:7f00:1::]:{port}/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}/",
    "http://[fe80::5efe:127.0.0.1]:{port}/",
    "http://[2600:1234::5efe:127.0.0.1]:{port}/",
    "http://[2600:1234::200:5efe:7f00:1]:{port}/",
]
"""Well formed, and at what is not public."""

MALFORMED = [
    # IPv4 as only some resolvers read it
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0X7F000001:{port}/",
    "http://017700000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0.0.0x1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.000.000.001:{port}/",
    "http://127.0.0.01:{port}/",
    "http://0:{port}/",
    "http://0x:{port}/",
    "http://0x0.0:{port}/",
    "http://6425673729:{port}/",  # 2**32 more
    "http://127.0.0.1.:{port}/",
    "http://127.0.0.1..:{port}/",
    "http://localhost.:{port}/",
    "http://.localhost:{port}/",
    # characters that become others
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/",  # full-width digits
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/",  # circled digits
    "http://127\u30020\u30020\u30021:{port}/",  # ideographic full stops
    "http://127\uff0e0\uff0e0\uff0e1:{port}/",  # full-width full stops
    "http://127\uff610\uff610\uff611:{port}/",  # half-width ideographic full stops
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/",  # circled letters
    "http://localho\u017ft:{port}/",  # long s
    "http\u017f://127.0.0.1:{port}/",
    "http://loca\u00adlhost:{port}/",  # soft hyphen
    "http://127.0.0.1:\uff11/",
    "http://[\uff1a\uff1a1]:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127.0.0.1%2f@example.org:{port}/",
    "http://127.0.0.1%00.example.org:{port}/",
    "http://127.0.0.1\ud800:{port}/",
    # zones
    "http://[::1%25lo]:{port}/",
    "http://[::1%lo]:{port}/",
    "http://[fe80::1%25eth0]:{port}/",
    "http://[fe80::1%1]:{port}/",
    # users
    "http://example.org@127.0.0.1:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://example.org:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.org/",
    "http://@127.0.0.1:{port}/",
    "http://:@127.0.0.1:{port}/",
    "http://example.org%40127.0.0.1:{port}/",
    # separators
    "http://example.org\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.org/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:/\\127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:////127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "http://127.0.0.1 :{port}/",
    "http://127.0.0.1:{port} @example.org/",
    "http://127.0.0.1,example.org:{port}/",
    "http://127.0.0.1;example.org:{port}/",
    "http://127.0.0.1&example.org:{port}/",
    # lines and blanks
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ ",
    "\thttp://127.0.0.1:{port}/",
    "ht\ttp://127.0.0.1:{port}/",
    "http://127.0.\t0.1:{port}/",
    "http://127.0.0.1:{port}/\r\nX-Injected: yes",
    "http://127.0.0.1:{port}/x HTTP/1.1\r\nHost: inner\r\n\r\n",
    "http://127.0.0.1\r\n:{port}/",
    "http://127.0.0.1\n:{port}/",
    "http://127.0.0.1\0:{port}/",
    "http://127.0.0.1:{port}/\u0085",
    # hosts and ports
    "http://",
    "http:///",
    "http://:{port}/",
    "http://[]:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://[::1:{port}/",
    "http://::1:{port}/",
    "http://[::1]{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:80:{port}/",
    "http://127.0.0.1:+{port}/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:0x50/",
    "http://127.0.0.1:/",
    # other schemes
    "ftp://127.0.0.1:{port}/",
    "file:///etc/hostname",
    "file://127.0.0.1/etc/hostname",
    "gopher://127.0.0.1:{port}/_GET%20/",
    "dict://127.0.0.1:{port}/",
    "ws://127.0.0.1:{port}/",
    "jar:http://127.0.0.1:{port}/!/",
    "view-source:http://127.0.0.1:{port}/",
    "url:http://127.0.0.1:{port}/",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
]
"""Not in the one form that is read."""

FORMS = [
    *(Form(url, by_address=True, reaches=True) for url in LOOPBACK),
    *(Form(url, by_address=True) for url in ELSEWHERE),
    *(Form(url) for url in MALFORMED),
]

LISTED = ("127.0.0.1", "127.1.2.3", "0.0.0.0", "localhost", "[::1]", "[::]", "[::ffff:7f00:1]")
"""Hosts to list with the canary's port, so that the port is not what refuses them."""
