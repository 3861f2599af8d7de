"""Spans that were recorded in this process, and short ways to look at them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from crossmodal import tracing

OUTER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""A `traceparent` of a caller whose request is recorded: the example of the W3C's recommendation."""


class Recorded:
    """What was recorded so far, in the order in which it ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (found,) = [span for span in self.all() if span.name == name]
        return found

    def below(self, name: str) -> list[str]:
        """The names of the children of the only span called ``name``, by when they began."""
        of = identity(self.named(name))
        children = [span for span in self.all() if span.parent is not None and span.parent.span_id == of]
        return [span.name for span in sorted(children, key=lambda span: span.start_time or 0)]

    def text(self) -> str:
        """Everything that would be sent."""
        return "".join(span.to_json() for span in self.all())


def identity(span: ReadableSpan) -> int:
    """The id of a span."""
    assert span.context is not None
    number: int = span.context.span_id
    return number


@contextmanager
def recording(sampler: Sampler | None = None) -> Iterator[Recorded]:
    """Record spans while the block runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.record(provider)
    try:
        yield Recorded(exporter)
    finally:
        tracing.stop()
