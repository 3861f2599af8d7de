"""Headers and framing: what HTTP itself forbids, and what a server must not be led astray by."""

import gzip

from tests.corpus.cases import Case, Collector
from tests.corpus.texts import SEARCH
from tests.corpus.wire import JSON, Headers, request

BODY = b'{"query": "a cat"}'
BROKEN = "malformed_body"
TYPE = ("Content-Type", JSON)
_HEAD = b"POST " + SEARCH.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"


def _chunked(body: bytes) -> bytes:
    return _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body


def cases() -> list[Case]:
    given = Collector("headers")
    _content(given)
    _framing(given)
    _lines(given)
    _odd_but_good(given)
    return given.cases


def _content(given: Collector) -> None:
    route = f"POST {SEARCH}"
    unread: dict[str, Headers] = {
        "text-type": [("Content-Type", "text/plain")],
        "no-type": [],
        "empty-type": [("Content-Type", "")],
        "form-type": [("Content-Type", "application/x-www-form-urlencoded")],
        "json-patch-type": [("Content-Type", "application/json-patch+json")],
        "type-not-utf-8": [("Content-Type", b"application/\xe9\xff")],
        "type-garbage": [("Content-Type", ";;;=/")],
        "multipart-where-json": [("Content-Type", "multipart/form-data; boundary=b")],
        "gzip-encoding": [TYPE, ("Content-Encoding", "gzip")],
        "unknown-encoding": [TYPE, ("Content-Encoding", "zstd-of-mine")],
    }
    for name, headers in unread.items():
        body = gzip.compress(BODY) if name == "gzip-encoding" else BODY
        wire = request("POST", SEARCH, body, headers=headers)
        given.add(name, route, wire, 415, "unsupported_media_type", sampled=name == "type-not-utf-8")
    over = request("POST", "/index/images", b"x", headers=[TYPE], length=20 * 1024 * 1024 + 1)
    given.add("declared-too-large", "POST /index/images", over, 413, "payload_too_large", sampled=True)
    digits = request("POST", "/index/images", b"x", headers=[TYPE], length=10**18)
    given.add("declared-exabyte", "POST /index/images", digits, 413, "payload_too_large")
    given.add("sent-too-large", "POST /index/images", _too_much, 413, "payload_too_large")
    given.add(
        "id-header-not-ascii",
        "GET /items/{modality}/{id}",
        request("GET", "/items/image/nobody", headers=[("X-Request-ID", b"\xff\xfe")]),
        404,
        "not_found",
    )
    given.add(
        "id-header-long",
        "GET /items/{modality}/{id}",
        request("GET", "/items/image/nobody", headers=[("X-Request-ID", "x" * 5000)]),
        404,
        "not_found",
    )
    given.add(
        "id-header-markup",
        "GET /items/{modality}/{id}",
        request("GET", "/items/image/nobody", headers=[("X-Request-ID", "<b>x</b>\t")]),
        404,
        "not_found",
    )


def _too_much() -> bytes:
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = b"POST /index/images HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + piece * 21 + b"0\r\n\r\n"


def _framing(given: Collector) -> None:
    """Lengths that lie, and the ways to smuggle a second request."""
    route = f"POST {SEARCH}"
    smuggled = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"
    for name, wire in {
        "length-negative": _HEAD + b"Content-Length: -5\r\n\r\n" + BODY,
        "length-word": _HEAD + b"Content-Length: ten\r\n\r\n" + BODY,
        "length-plus": _HEAD + b"Content-Length: +18\r\n\r\n" + BODY,
        "length-huge": _HEAD + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n" + BODY,
        "length-twice": _HEAD + b"Content-Length: 18\r\nContent-Length: 5\r\n\r\n" + BODY,
        "length-list": _HEAD + b"Content-Length: 18, 5\r\n\r\n" + BODY,
        "length-and-chunked": _HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
        "chunked-and-length": _HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled,
        "chunked-not-last": _HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "chunked-misspelt": _HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "chunked-blank-before-colon": _HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "chunked-control": _HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "chunk-size-word": _chunked(b"xyz\r\n" + BODY + b"\r\n0\r\n\r\n"),
        "chunk-size-negative": _chunked(b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
        "chunk-size-overflow": _chunked(b"f" * 20 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
        "chunk-too-short": _chunked(b"4\r\n" + BODY + b"\r\n0\r\n\r\n"),
        "chunk-bare-newline": _chunked(b"12\n" + BODY + b"\n0\n\n"),
    }.items():
        given.add(name, route, wire, 400, BROKEN, sampled=name in {"length-word", "chunk-size-word"})
    short = request("POST", SEARCH, BODY, headers=[TYPE], length=5)
    given.add("length-too-short", route, short, 400, BROKEN)
    long = request("POST", SEARCH, BODY, headers=[TYPE], length=500)
    given.add("length-too-long-then-gone", route, long, None, half_close=True)
    given.add("length-too-long-then-silent", route, long, 504, "deadline_exceeded")
    given.add("chunks-never-end", route, _chunked(b"12\r\n" + BODY + b"\r\n"), 504, "deadline_exceeded")


def _lines(given: Collector) -> None:
    for name, wire in {
        "no-http": b"hello\r\n\r\n",
        "nul-bytes": bytes(100),
        "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        "bad-version": b"GET /stats HTTP/9.9\r\nHost: x\r\n\r\n",
        "http-2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no-target": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
        "blank-in-target": b"GET /st ats HTTP/1.1\r\nHost: x\r\n\r\n",
        "nul-in-target": b"GET /st\0ats HTTP/1.1\r\nHost: x\r\n\r\n",
        "unknown-method": b"FROB /stats HTTP/1.1\r\nHost: x\r\n\r\n",
        "lower-case-method": b"get /stats HTTP/1.1\r\nHost: x\r\n\r\n",
        "header-without-colon": b"GET /stats HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
        "header-nul": b"GET /stats HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
        "header-name-blank": b"GET /stats HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n",
        "header-folded": b"GET /stats HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
        "header-bare-return": b"GET /stats HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n\r\n",
        "host-missing": b"GET /stats HTTP/1.1\r\nConnection: close\r\n\r\n",
        "host-twice": b"GET /stats HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "header-1-mib": b"GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"a" * 2**20 + b"\r\n\r\n",
        "headers-10000": b"GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
        "target-1-mib": b"GET /stats?" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    }.items():
        large = name in {"header-1-mib", "headers-10000", "target-1-mib"}
        status, code = (431, "headers_too_large") if large else (400, BROKEN)
        given.add(name, "(malformed HTTP)", wire, status, code, sampled=name == "no-http")


def _odd_but_good(given: Collector) -> None:
    route = f"POST {SEARCH}"
    expecting = _HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    given.add("expect-continue", route, expecting, 200)
    given.add(
        "chunked-byte-by-byte", route, _chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"), 200
    )
    given.add("chunk-extension", route, _chunked(b"12;a=b\r\n" + BODY + b"\r\n0\r\nTrailer: x\r\n\r\n"), 200)
    kind = [("Content-Type", "APPLICATION/JSON ; charset=utf-8")]
    given.add("type-upper-case", route, request("POST", SEARCH, BODY, headers=kind), 200)
    given.add(
        "identity-encoding", route, request("POST", SEARCH, BODY, headers=[TYPE, ("Content-Encoding", "identity")]), 200
    )
    given.add("http-0.9", "GET /stats", b"GET /stats\r\nHost: x\r\n\r\n", 200)
    given.add("http-1.0", "GET /stats", b"GET /stats HTTP/1.0\r\n\r\n", 200)
    given.add("upgrade-h2c", "GET /stats", request("GET", "/stats", headers=[("Upgrade", "h2c")]), 200)
    given.add("host-odd", "GET /stats", request("GET", "/stats", headers=[("Host", "evil.example:1")]), 200)
    given.add("range-header", "GET /stats", request("GET", "/stats", headers=[("Range", "bytes=9-1")]), 200)
    given.add("accept-other", "GET /stats", request("GET", "/stats", headers=[("Accept", "image/png")]), 200)
