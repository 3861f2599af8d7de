"""What is recorded, and what becomes of spans that nobody takes."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased

from crossmodal import tracing
from crossmodal.telemetry import configure_logging
from crossmodal.tracing.export import Complaint, Gathering, Reporting, RequestSampler, said
from tests.spans import OUTER, recording
from tools.servers import ROOT, free_port


class Collector(SpanExporter):
    """Takes spans, or fails as it is told; ``hangs`` until it is shut down."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.attempts = 0
        self.fault: Exception | None = None
        self.refuses = False
        self.hangs = False
        self.ended = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.attempts += 1
        if self.hangs:
            self.ended.wait(20)
        if self.fault is not None:
            raise self.fault
        if self.refuses or self.hangs:
            return SpanExportResult.FAILURE
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.ended.set()


@contextmanager
def echoing() -> Iterator[int]:
    """A server that takes nothing and repeats what was asked; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(404, f"no {self.path.split('/')[1]} at {self.path}")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def some_spans(ratio: float, *headers: tuple[bytes, bytes], count: int = 400) -> int:
    """How many of so many requests are recorded."""
    with recording(ParentBased(RequestSampler(ratio))) as recorded:
        for _ in range(count):
            with tracing.request("GET", headers), tracing.span("below"):
                pass
    names = [span.name for span in recorded.all()]
    assert names.count("GET") == names.count("below")
    return names.count("GET")


def test_a_share_of_requests_is_recorded_each_whole() -> None:
    assert some_spans(0.0) == 0
    assert some_spans(1.0, count=20) == 20
    assert 100 < some_spans(0.5) < 300


@pytest.mark.parametrize(("flags", "ratio", "expected"), [("01", 0.0, 5), ("00", 1.0, 0)])
def test_a_caller_who_says_is_heeded(flags: str, ratio: float, expected: int) -> None:
    assert some_spans(ratio, (b"traceparent", (OUTER[:-2] + flags).encode()), count=5) == expected


def test_a_batch_is_recorded_with_the_requests_in_it() -> None:
    with recording(ParentBased(RequestSampler(0.0))) as recorded:
        with tracing.request("GET", [(b"traceparent", OUTER.encode())]):
            member = tracing.here()
        tracing.batch("batch", 0.1, [member, member])
    batch = recorded.named("batch")
    assert (batch.parent, len(batch.links)) == (None, 1)


def test_a_collector_that_is_away_is_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    collector = Collector()
    reporting = Reporting(collector)
    collector.fault = ConnectionRefusedError("http://user:password@somewhere")
    results = [reporting.export([]) for _ in range(5)]
    collector.fault, collector.refuses = None, True
    results += [reporting.export([]) for _ in range(5)]
    assert set(results) == {SpanExportResult.FAILURE}
    collector.refuses = False
    assert [reporting.export([]) for _ in range(3)] == [SpanExportResult.SUCCESS] * 3
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("spans cannot be sent", "warning"),
        ("spans are sent again", "info"),
    ]
    assert lines[0]["cause"] == "ConnectionRefusedError"
    assert "password" not in str(lines)


def test_what_the_library_says_of_it_is_in_the_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    complaint = Complaint()
    complaint.replace_log(logging.getLogger("tests.of.a.library"))

    class Talking(Collector):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            for code in (503, 500):
                logging.getLogger("tests.of.a.library.below").error("Failed to export, code: %s", code)
            return super().export(spans)

    collector = Talking()
    collector.refuses = True
    complaint.first = "long ago"
    Reporting(collector, complaint).export([])
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["cause"] == "Failed to export, code: 503"


SENDING = """
import sys
from crossmodal import tracing
from crossmodal.telemetry import configure_logging

configure_logging()
tracing.start(sys.argv[1], ratio=1.0, service="x", version="1")
with tracing.request("GET", []):
    pass
tracing.stop()
"""


def sent_to(url: str, **variables: str) -> str:
    """What a process writes that sends a span there."""
    command = [sys.executable, "-c", SENDING, url]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == ""
    return ended.stderr


def test_a_token_in_the_collectors_url_is_not_written_down() -> None:
    with echoing() as port:
        lines = sent_to(f"http://127.0.0.1:{port}/s3cret-token")
    (line,) = [json.loads(line) for line in lines.splitlines()]
    assert (line["event"], line["level"]) == ("spans cannot be sent", "warning")
    assert line["cause"] == "Failed to export spans batch code: 404, reason: no ... at /.../v1/traces"


def test_neither_is_one_of_a_collector_that_is_away() -> None:
    part = "s3cret-part"
    complaint = Complaint(path=f"/{part}")
    logger = logging.getLogger("tests.of.a.client")
    complaint.replace_log(logger)
    url = f"http://127.0.0.1:{free_port()}/{part}"
    with pytest.raises(requests.ConnectionError, match=part) as away:
        requests.post(url, timeout=5)
    logger.warning("Transient error %s, retrying in %.2fs", away.value, 1.5)
    assert complaint.first == "Transient error ConnectionError: Connection refused, retrying in 1.50s"
    assert said(ValueError(url)) == "ValueError"


def test_headers_that_are_not_valid_are_not_written_down() -> None:
    with echoing() as port:
        lines = sent_to(f"http://127.0.0.1:{port}", OTEL_EXPORTER_OTLP_HEADERS="Bearer s3cret")
    events = [json.loads(line)["event"] for line in lines.splitlines()]
    assert events == ["headers for the collector are not valid", "spans cannot be sent"]
    assert "s3cret" not in lines


def ending(collector: Collector, spans: int) -> float:
    """The seconds that ending takes, with so many spans waiting."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Gathering(Reporting(collector)))
    tracing.record(provider)
    for _ in range(spans):
        with tracing.request("GET", []):
            pass
    began = time.monotonic()
    tracing.stop()
    return time.monotonic() - began


def test_what_is_left_is_sent_at_the_end() -> None:
    collector = Collector()
    ending(collector, 30)
    assert collector.taken == ["GET"] * 30
    assert collector.ended.is_set()


def test_the_end_waits_for_no_collector_that_does_not_answer() -> None:
    collector = Collector()
    collector.hangs = True
    try:
        assert ending(collector, 2000) < 2 * tracing.STOP_SECONDS + 1
    finally:
        collector.ended.set()
    refusing = Collector()
    refusing.refuses = True
    assert ending(refusing, 2000) < tracing.STOP_SECONDS
    assert refusing.attempts <= 2000 // 512 + 1


def test_requests_do_not_wait_for_a_collector_that_does_not_answer() -> None:
    collector = Collector()
    collector.hangs = True
    began = time.monotonic()
    try:
        ending(collector, 5000)  # more than the queue holds
    finally:
        collector.ended.set()
    assert time.monotonic() - began < 2 * tracing.STOP_SECONDS + 3
