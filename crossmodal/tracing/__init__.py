"""Spans of what a request goes through, for an OpenTelemetry collector. Off, and next to nothing, until ``start`` is called.

A trace of ours has a span for the request, one for each stage below it, and goes on in the encoder's process where the model is
elsewhere. A batch is a trace of its own, linked to the requests in it. Spans carry what is said here and nothing else: no text,
picture, id, metadata or key of a client's, and no message of an exception, for those may hold such.

``opentelemetry`` is imported in this package only, and once tracing is on: it takes a quarter of a second.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, Self

from crossmodal.errors import CrossModalError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from crossmodal.tracing.spans import Spans

Value = str | int | float | bool
Headers = Iterable[tuple[bytes, bytes]]

STOP_SECONDS = 2.0
"""How long ``stop`` waits for the collector to take what is left."""


class RequestSpan(Protocol):
    """The span of a request, from ``__enter__`` to ``__exit__``."""

    def __enter__(self) -> Self:
        """Begin it."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End it."""

    def answered(self, status: int) -> None:
        """Say what was answered, 0 if nothing was."""


class _Nothing:
    """Stands for a span where none is recorded."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def answered(self, status: int) -> None:
        """Nobody wants to know."""


NOTHING = _Nothing()
_spans: "Spans | None" = None


def start(endpoint: str, *, ratio: float, service: str, version: str) -> None:
    """Record spans from now on and send them to the collector at ``endpoint``, ``http(s)://HOST:PORT[/PATH]``, by OTLP.

    ``ratio``, 0 to 1, is the share of requests that are recorded, unless their callers say whether they want it. A process
    calls this once, and ``stop`` at its end.
    """
    from crossmodal.tracing.export import build_provider

    record(build_provider(endpoint, ratio=ratio, service=service, version=version))


def record(provider: "TracerProvider") -> None:
    """Record spans with ``provider`` from now on."""
    from crossmodal.tracing.spans import Spans

    global _spans  # noqa: PLW0603 -- one for a process, as its metrics and its log are
    _spans = Spans(provider)


def stop() -> None:
    """Record nothing more and send what is left, in ``STOP_SECONDS`` at most. Blocks: call it beside the event loop."""
    global _spans
    ended, _spans = _spans, None
    if ended is not None:
        sending = Thread(target=ended.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(STOP_SECONDS)


def is_on() -> bool:
    """Whether spans are recorded in this process."""
    return _spans is not None


def request(method: str, headers: Headers, *, name: str = "", **attributes: Value) -> RequestSpan:
    """The span of a request while the block runs; ``headers`` may name the trace that it is a part of.

    It is called ``name``, or else by ``method`` and, once ``route`` says it, the route.
    """
    return NOTHING if _spans is None else _spans.request(method, headers, name, attributes)


def span(name: str, *, calls: bool = False, **attributes: Value) -> AbstractContextManager[object]:
    """A span below the present one while the block runs; ``calls`` says that another process does the work.

    Without a request that is recorded there is none; so it is with all that follows.
    """
    return NOTHING if _spans is None else _spans.span(name, attributes, calls=calls)


def past(name: str, *, ago: float, seconds: float, **attributes: Value) -> None:
    """A span of what began ``ago`` seconds before now and took ``seconds``."""
    if _spans is not None:
        _spans.past(name, ago, seconds, attributes)


def batch(name: str, seconds: float, members: Sequence[Any], **attributes: Value) -> None:
    """A trace of its own for work that ended now and took ``seconds``, linked to what ``here`` gave its ``members``."""
    if _spans is not None:
        _spans.batch(name, seconds, members, attributes)


def here() -> Any | None:
    """What others can link to: the present span."""
    return None if _spans is None else _spans.here()


def count(name: str, number: int) -> None:
    """Add ``number`` to an attribute of the present request's span."""
    if _spans is not None:
        _spans.count(name, number)


def route(template: str) -> None:
    """Say which route answers the present request, as it is written in the code: no part of it is the caller's."""
    if _spans is not None:
        _spans.route(template)


def fault(error: CrossModalError) -> None:
    """Say that the present request is answered with ``error``."""
    if _spans is not None:
        _spans.fault(error)


def carried() -> list[tuple[bytes, bytes]]:
    """Headers for a call to another process of ours, so that the trace goes on there. Not for anybody else's."""
    return [] if _spans is None else _spans.carried()


def trace_id() -> str | None:
    """The id of the present trace, 32 hex digits."""
    return None if _spans is None else _spans.trace_id()
