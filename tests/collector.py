"""A stand-in for an OpenTelemetry collector: takes OTLP over HTTP on loopback and keeps what came."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

ERROR = 2
"""A span's status where something failed."""


@dataclass(frozen=True)
class Span:
    """What is asked of a span; ids in hex, ``parent`` empty where it is the first of its trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str | int]
    links: list[str]
    status: int
    began: int
    ended: int


class Collector:
    """Listens at ``url`` from its making until ``close``."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        """All that came."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                right = (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
                if right:
                    collector.take(body)
                self.send_response(200 if right else 404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def take(self, body: bytes) -> None:
        """Keep the spans of one call."""
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        service=str(service),
                        name=span.name,
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        attributes=_plain(span.attributes),
                        links=[link.span_id.hex() for link in span.links],
                        status=span.status.code,
                        began=span.start_time_unix_nano,
                        ended=span.end_time_unix_nano,
                    )
                    for span in scope.spans
                ]

    def close(self) -> None:
        """Listen no more: from now on connections are refused."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, found: Callable[[list[Span]], bool], *, within: float = 10) -> None:
        """Return once what came holds what is looked for. Raises ``AssertionError`` with the names if it does not come."""
        end = time.monotonic() + within
        while not found(self.spans):
            assert time.monotonic() < end, sorted(span.name for span in self.spans)
            time.sleep(0.05)

    def of(self, trace: str) -> "Tree":
        """The spans of one trace."""
        return Tree([span for span in self.spans if span.trace == trace])


class Tree:
    """The spans of one trace."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans

    def named(self, name: str, service: str = "crossmodal-api") -> Span:
        """The only span of that name."""
        (found,) = [span for span in self.spans if (span.name, span.service) == (name, service)]
        return found

    def below(self, parent: Span) -> list[tuple[str, str]]:
        """Service and name of its children, by when they began."""
        children = [span for span in self.spans if span.parent == parent.id]
        return [(span.service, span.name) for span in sorted(children, key=lambda span: span.began)]


def _plain(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for each in attributes:
        found[each.key] = each.value.int_value if each.value.HasField("int_value") else each.value.string_value
    return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector while the block runs."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()
