"""The way of spans to a collector: gathered and sent by a thread of its own, and lost where they cannot be sent."""

import logging
import os
import socket
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

PATH = "/v1/traces"
"""Where a collector takes spans."""
SEND_SECONDS = 3.0
"""How long the collector may take for a batch of spans, further attempts included."""
SECRET = 4
"""Characters that a part of a path needs to be taken for a secret."""

log = structlog.get_logger()


def build_provider(endpoint: str, *, ratio: float, service: str, version: str) -> TracerProvider:
    """What makes spans and sends them to ``endpoint``.

    What is not said here the SDK reads from the environment itself: `OTEL_EXPORTER_OTLP_HEADERS`,
    `OTEL_EXPORTER_OTLP_CERTIFICATE`, `OTEL_RESOURCE_ATTRIBUTES` and the like.
    """
    complaint, of_headers = Complaint(path=urlsplit(endpoint).path), Complaint()
    of_headers.replace_log(logging.getLogger("opentelemetry.util.re"))  # it writes down headers that are not valid
    for name in (
        "opentelemetry.exporter",
        "opentelemetry.sdk",
    ):  # they complain of each batch; ``Reporting`` does it once
        complaint.replace_log(logging.getLogger(name))
    instance = f"{socket.gethostname()}:{os.getpid()}"
    described = {SERVICE_NAME: service, SERVICE_VERSION: version, SERVICE_INSTANCE_ID: instance}
    provider = TracerProvider(
        sampler=ParentBased(RequestSampler(ratio)), resource=Resource.create(described), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + PATH, timeout=SEND_SECONDS)
    if of_headers.first:
        log.warning(
            "headers for the collector are not valid",
            detail="OTEL_EXPORTER_OTLP_HEADERS holds NAME=VALUE, URL-encoded and comma-separated; what is not is left out",
        )
    provider.add_span_processor(Gathering(Reporting(exporter, complaint)))
    return provider


class RequestSampler(TraceIdRatioBased):
    """Records a share of the requests, and every batch: it is made only if something recorded is in it."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See ``Sampler.should_sample``."""
        if links:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return super().should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)


class Gathering(BatchSpanProcessor):
    """The SDK's queue and thread; its end does not wait for a collector that does not answer."""

    def __init__(self, exporter: "Reporting") -> None:
        super().__init__(exporter)
        self._reporting = exporter

    def shutdown(self) -> None:
        """Send what is left."""
        self._reporting.end()
        super().shutdown()  # type: ignore[no-untyped-call]  # the SDK says no types here


class Complaint(logging.Handler):
    """Keeps the first of what a library has to complain of, in place of writing it down; later ones say less.

    Of exceptions it keeps what the operating system says: their own texts have URLs in them, whose path may be a secret.
    """

    first = ""

    def __init__(self, path: str = "") -> None:
        """The parts of the URL's ``path`` are left out wherever they come up, as in what a collector answers."""
        super().__init__()
        self._secrets = [part for part in path.split("/") if len(part) >= SECRET]

    def replace_log(self, logger: logging.Logger) -> None:
        """Be where all goes that ``logger``, and those below it, have to say."""
        logger.propagate = False
        logger.handlers[:] = [self]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if nothing was kept since ``first`` was emptied."""
        if isinstance(record.args, tuple):
            record.args = tuple(said(each) if isinstance(each, BaseException) else each for each in record.args)
        found = record.getMessage()
        for secret in self._secrets:
            found = found.replace(secret, "...")
        self.first = self.first or found


def said(error: BaseException) -> str:
    """The name of ``error`` and what the operating system or the TLS library said at its root, if it was one of them."""
    root = error
    while (below := root.__cause__ or root.__context__) is not None:
        root = below
    name = type(error).__qualname__
    if isinstance(root, OSError) and root.strerror:
        return f"{name}: {root.strerror}"
    return name if root is error else f"{name}: {type(root).__qualname__}"


class Reporting(SpanExporter):
    """An exporter before another one: says once that spans cannot be sent, and once that they can be again."""

    def __init__(self, exporter: SpanExporter, complaint: Complaint | None = None) -> None:
        """``complaint`` holds what ``exporter`` says of a failure."""
        self._exporter = exporter
        self._complaint = complaint or Complaint()
        self._failing = False
        self._ending = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans``; what cannot be sent is lost. Never raises."""
        if self._failing and self._ending.is_set():
            return SpanExportResult.FAILURE
        self._complaint.first = ""
        try:
            result = self._exporter.export(spans)
            cause = self._complaint.first
        except Exception as error:  # noqa: BLE001 -- whatever it is, the spans are lost and nothing else
            result, cause = SpanExportResult.FAILURE, said(error)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            log.warning("spans cannot be sent", detail="the collector does not take them; they are lost", cause=cause)
        elif self._failing and not failed:
            log.info("spans are sent again")
        self._failing = failed
        return result

    def end(self) -> None:
        """From now on nothing is sent to a collector that did not take the last spans."""
        self._ending.set()
        if self._failing:
            self._exporter.shutdown()  # ends an attempt that is waiting for its turn

    def shutdown(self) -> None:
        """Release the connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 -- the SDK's signature
        """Nothing is kept here."""
        return True
