"""Routes and methods that do not exist, and paths that try to leave their folder."""

from tests.corpus.cases import Case, Collector
from tests.corpus.wire import request


def cases() -> list[Case]:
    given = Collector("routes")
    for name, target in {
        "unknown": "/no/such/route",
        "docs-page": "/docs",
        "redoc": "/redoc",
        "modality": "/items/audio",
        "modality-item": "/items/audio/x",
        "items-alone": "/items",
        "no-image-id": "/images/",
        "source-file": "/service.py",
        "git": "/.git/config",
        "environment": "/.env",
        "page-missing": "/ui/no-such-file.js",
        "page-parent": "/ui/../service.py",
        "page-parent-encoded": "/ui/%2e%2e/service.py",
        "page-slash-encoded": "/ui/..%2fservice.py",
        "page-double-encoded": "/ui/%252e%252e%252fservice.py",
        "page-backslash": "/ui/..%5cservice.py",
        "page-long-way-up": "/ui/" + "../" * 20 + "etc/passwd",
        "page-absolute": "/ui//etc/passwd",
        "page-utf-8-dots": "/ui/%c0%ae%c0%ae/service.py",
        "page-nul": "/ui/index.html%00.js",
        "page-long-name": "/ui/" + "x" * 5000,
        "page-newline": "/ui/%0d%0aSet-Cookie:x",
        "images-parent": "/images/../../x",
        "images-nul": "/images/%00/thumbnail",
        "items-nul": "/items/%00",
        "double-slash": "//stats",
        "absolute-form": "http://127.0.0.1/no",
    }.items():
        sampled = name in {"unknown", "page-parent-encoded"}
        given.add(f"route-{name}", f"GET {target[:40]}", request("GET", target), 404, "not_found", sampled=sampled)
    for method, target in [
        ("GET", "/search/text-to-image"),
        ("PUT", "/search/similar-images"),
        ("DELETE", "/index/texts"),
        ("POST", "/stats"),
        ("PATCH", "/items/image/x"),
        ("POST", "/items/image"),
        ("DELETE", "/images/x"),
        ("TRACE", "/stats"),
        ("OPTIONS", "/stats"),
        ("POST", "/ui/"),
        ("POST", "/docs.json"),
        ("PROPFIND", "/items/image"),
        ("HEAD", "/search/text-to-image"),
    ]:
        name = f"{method.lower()}{target.rstrip('/').replace('/', '-')}"
        given.add(
            name, f"{method} {target}", request(method, target), 405, "method_not_allowed", sampled=target == "/stats"
        )
    given.add(
        "connect",
        "CONNECT",
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        400,
        "malformed_body",
    )
    given.add("asterisk", "OPTIONS *", request("OPTIONS", "*"), 404, "not_found")
    given.add("head-unknown", "HEAD /items/image/nobody", request("HEAD", "/items/image/nobody"), 404, "not_found")
    for name, target in {
        "stats": "/stats",
        "items": "/items/image",
        "item": "/items/image/corpus-0",
        "docs": "/docs.json",
        "image": "/images/corpus-0",
        "page": "/ui/",
        "health": "/livez",
    }.items():
        given.add(f"head-{name}", f"HEAD {target}", request("HEAD", target), 200)
    return given.cases
