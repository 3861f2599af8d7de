"""How spans are made with OpenTelemetry's SDK; ``crossmodal.tracing`` says what for."""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Self

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from crossmodal.errors import CrossModalError
from crossmodal.tracing import NOTHING, Headers, RequestSpan, Value

CANCELLED = "cancelled"
"""The `error.type` of what nobody waited for any more."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "_OTHER"
"""What the conventions call a method that is none of these: callers make them up."""
_NAMES = {
    "operation": "db.operation.name",
    "store": "db.system.name",
    "method": "http.request.method",
    "request_id": "crossmodal.request_id",
}
_NANO = 1_000_000_000
_W3C = TraceContextTextMapPropagator()
_CARRIED = _W3C.fields


class Spans:
    """Makes the spans of a process; see the functions of ``crossmodal.tracing``, which these are."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("crossmodal")

    def shutdown(self) -> None:
        """Send what is left; as long as the collector takes."""
        self._provider.shutdown()

    def request(self, method: str, headers: Headers, name: str, attributes: Mapping[str, Value]) -> RequestSpan:
        """See ``crossmodal.tracing.request``."""
        return _RequestSpan(self._tracer, method if method in _METHODS else _OTHER, headers, name, attributes)

    def span(self, name: str, attributes: Mapping[str, Value], *, calls: bool) -> AbstractContextManager[object]:
        """See ``crossmodal.tracing.span``."""
        return NOTHING if _present.get() is None else _ChildSpan(self._tracer, name, attributes, calls=calls)

    def past(self, name: str, ago: float, seconds: float, attributes: Mapping[str, Value]) -> None:
        """See ``crossmodal.tracing.past``."""
        if _present.get() is not None:
            began = time.time_ns() - int(ago * _NANO)
            span = self._tracer.start_span(name, start_time=began, attributes=_named(attributes))
            span.end(end_time=began + int(seconds * _NANO))

    def batch(self, name: str, seconds: float, members: Sequence[SpanContext], attributes: Mapping[str, Value]) -> None:
        """See ``crossmodal.tracing.batch``."""
        ended = time.time_ns()
        span = self._tracer.start_span(
            name,
            context=Context(),
            links=[Link(each) for each in {member.span_id: member for member in members}.values()],
            start_time=ended - int(seconds * _NANO),
            attributes=_named(attributes),
        )
        span.end(end_time=ended)

    def here(self) -> SpanContext | None:
        """See ``crossmodal.tracing.here``."""
        return None if _present.get() is None else get_current_span().get_span_context()

    def count(self, name: str, number: int) -> None:
        """See ``crossmodal.tracing.count``."""
        present = _present.get()
        if present is not None:
            present.counts[name] = present.counts.get(name, 0) + number

    def route(self, template: str) -> None:
        """See ``crossmodal.tracing.route``."""
        present = _present.get()
        if present is not None and present.span.is_recording():
            present.span.update_name(f"{present.method} {template}")
            present.span.set_attribute("http.route", template)

    def fault(self, error: CrossModalError) -> None:
        """See ``crossmodal.tracing.fault``."""
        present = _present.get()
        if present is not None and present.span.is_recording():
            present.span.set_attribute("error.type", error.code)

    def carried(self) -> list[tuple[bytes, bytes]]:
        """See ``crossmodal.tracing.carried``."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return [(name.encode(), value.encode("latin-1", "replace")) for name, value in carrier.items()]

    def trace_id(self) -> str | None:
        """See ``crossmodal.tracing.trace_id``."""
        present = _present.get()
        return None if present is None else f"{present.span.get_span_context().trace_id:032x}"


class _Present:
    """The recorded span of the request that is being answered, and what is counted for it."""

    __slots__ = ("counts", "method", "span")

    def __init__(self, span: Span, method: str) -> None:
        self.span = span
        self.method = method
        self.counts: dict[str, int] = {}


_present: ContextVar[_Present | None] = ContextVar("traced_request", default=None)
"""None outside of requests, and in one that is not recorded: then nothing below it is either."""


class _ChildSpan:
    """See ``crossmodal.tracing.span``."""

    __slots__ = ("_attributes", "_kind", "_name", "_span", "_token", "_tracer")

    def __init__(self, tracer: Tracer, name: str, attributes: Mapping[str, Value], *, calls: bool) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = SpanKind.CLIENT if calls else SpanKind.INTERNAL
        self._attributes = attributes

    def __enter__(self) -> None:
        self._span = self._tracer.start_span(self._name, kind=self._kind, attributes=_named(self._attributes))
        self._token = context.attach(set_span_in_context(self._span))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        context.detach(self._token)
        if error is not None:
            _mark(self._span, error)
        self._span.end()


class _RequestSpan:
    """See ``crossmodal.tracing.request``."""

    __slots__ = ("_attributes", "_headers", "_method", "_name", "_reset", "_span", "_token", "_tracer")

    def __init__(
        self, tracer: Tracer, method: str, headers: Headers, name: str, attributes: Mapping[str, Value]
    ) -> None:
        self._tracer = tracer
        self._method = method
        self._headers = headers
        self._name = name
        self._attributes = attributes

    def __enter__(self) -> Self:
        self._span = self._tracer.start_span(
            self._name or ("HTTP" if self._method == _OTHER else self._method),
            context=_W3C.extract(_carrier(self._headers), Context()),
            kind=SpanKind.SERVER,
            attributes=_named({"method": self._method, **self._attributes}),
        )
        # One that is not recorded is the present one too, so that an encoder elsewhere is told not to record its part.
        self._token = context.attach(set_span_in_context(self._span))
        self._reset = _present.set(_Present(self._span, self._method) if self._span.is_recording() else None)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        present = _present.get()
        _present.reset(self._reset)
        context.detach(self._token)
        if error is not None:
            _mark(self._span, error)
        if present is not None:
            self._span.set_attributes(_named(present.counts))
        self._span.end()

    def answered(self, status: int) -> None:
        """Say what was answered, 0 if nothing was."""
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._span.set_status(StatusCode.ERROR)


def _carrier(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that name a trace, if there are such."""
    named = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return {name: value for name, value in named if name in _CARRIED}


def _named(attributes: Mapping[str, Value]) -> dict[str, Value]:
    """Attributes under their full names: those of the conventions, and ours for what these do not know."""
    return {_NAMES.get(name) or f"crossmodal.{name}": value for name, value in attributes.items()}


def _mark(span: Span, error: BaseException) -> None:
    """Say what ended the work, by its code or its class: its words may be a client's."""
    if not isinstance(error, Exception):
        span.set_attribute("error.type", CANCELLED)
    elif isinstance(error, CrossModalError):
        span.set_attribute("error.type", error.code)
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
    else:
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(StatusCode.ERROR)
