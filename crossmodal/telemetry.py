"""What operators see: structured logs, Prometheus metrics, and the stages of a request, which are its spans too.

Metrics go to the process's default Prometheus registry, which BentoML serves at `/metrics`.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, Token
from itertools import product
from types import TracebackType
from typing import TextIO, cast

import structlog
from prometheus_client import Counter, Gauge, Histogram

from crossmodal import tracing
from crossmodal.errors import ClientError, CrossModalError, Shed, error_codes
from crossmodal.records import DecoderLoss

STAGES = ("fetch", "decode", "queue", "embed", "store", "compare")
"""The stages of a request, in the order they happen; `Server-Timing` names them."""

STORE_OPERATIONS = ("search", "fetch", "upsert", "delete", "scroll", "count")
"""What is counted of the vector store's use."""

request_id: ContextVar[str] = ContextVar("request_id", default="-")
_stages: ContextVar[dict[str, float] | None] = ContextVar("stages", default=None)

_STAGE_SECONDS = Histogram(
    "crossmodal_stage_seconds",
    "Time a request spent in a stage",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_BATCH_ITEMS = Histogram(
    "crossmodal_batch_items", "Items in a batch", ["kind", "lane"], buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
_BATCH_SECONDS = Histogram(
    "crossmodal_batch_seconds",
    "Time the model took for a batch",
    ["kind", "lane"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_QUEUE_SECONDS = Histogram(
    "crossmodal_queue_seconds",
    "Time a request's items waited for the model (text, image) or for a decoder, the longest of them",
    ["kind", "lane"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_QUEUED = Gauge("crossmodal_queued_items", "Items waiting for the model", multiprocess_mode="livesum")
_ITEM_SECONDS = Counter(
    "crossmodal_item_seconds",
    "Seconds that items spent waiting for the model and in it; a second's worth of it is the mean number of items in flight",
)
_LOOKUPS = Counter(
    "crossmodal_cache_lookups", "Texts and pictures looked up among embeddings made before", ["kind", "lane", "outcome"]
)
_CACHED_BYTES = Gauge("crossmodal_cache_bytes", "What embeddings made before take", multiprocess_mode="livesum")
_INDEXED = Counter("crossmodal_indexed_items", "Items by outcome of indexing", ["modality", "status"])
_LOST_DECODERS = Counter("crossmodal_lost_decoders", "Decoding processes lost to a picture, by reason", ["reason"])
_PROBLEMS = Counter("crossmodal_problems", "Problem responses by code, those to probes not counted", ["code"])
_SHED = Counter("crossmodal_shed", "Requests turned away rather than worked on, by the limit they met", ["reason"])
_STORE_SECONDS = Histogram(
    "crossmodal_store_seconds",
    "Time the vector store took, failures included",
    ["operation"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_STORE_FAILURES = Counter("crossmodal_store_failures", "Uses of the vector store that failed", ["operation"])
_REQUEST_SECONDS = Histogram(
    "crossmodal_request_seconds",
    "Time until a request was answered in full, by who waits (interactive, bulk) and class of status",
    ["work", "status"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
_IN_FLIGHT = Gauge(
    "crossmodal_requests_in_flight", "Requests being answered, probes not counted", multiprocess_mode="livesum"
)
_READY = Gauge(
    "crossmodal_ready", "What the last probe of readiness was told: 1 ready, 0 not", multiprocess_mode="livemin"
)
_MODEL = Gauge(
    "crossmodal_model_info",
    "1 for the model that is served",
    ["model", "fingerprint", "device", "precision"],
    multiprocess_mode="livemax",
)

# From the start, or nobody sees the first of a kind in a rate.
_KINDS: dict[Counter, Iterable[str]] = {
    _SHED: Shed, _LOST_DECODERS: DecoderLoss, _STORE_FAILURES: STORE_OPERATIONS, _PROBLEMS: sorted(error_codes())
}  # fmt: skip
for _counter, _kind in ((_counter, _kind) for _counter, _kinds in _KINDS.items() for _kind in _kinds):
    _counter.labels(_kind)
for _work, _status in product(("interactive", "bulk"), ("2xx", "4xx", "5xx")):
    _REQUEST_SECONDS.labels(_work, _status)
# Looking a series up by its labels takes as long as all the rest of timing a block.
_OF_STAGE = {name: _STAGE_SECONDS.labels(name) for name in STAGES}
_OF_OPERATION = {name: _STORE_SECONDS.labels(name) for name in STORE_OPERATIONS}


class BatchMetrics:
    """Counts batches for Prometheus; satisfies ``crossmodal.batching.BatchObserver``."""

    def on_batch(self, kind: str, lane: str, *, items: int, seconds: float, queued: int) -> None:
        """Record one batch."""
        _BATCH_ITEMS.labels(kind, lane).observe(items)
        _BATCH_SECONDS.labels(kind, lane).observe(seconds)
        _QUEUED.set(queued)


@contextmanager
def in_model(items: int) -> Iterator[None]:
    """Count the time of the block for each of ``items`` that wait for the model or are in it, whatever comes of them."""
    began = time.perf_counter()
    try:
        yield
    finally:
        _ITEM_SECONDS.inc(items * (time.perf_counter() - began))


def count_lookups(kind: str, lane: str, *, hits: int, misses: int) -> None:
    """Count items that were looked up among embeddings made before."""
    _LOOKUPS.labels(kind, lane, "hit").inc(hits)
    _LOOKUPS.labels(kind, lane, "miss").inc(misses)
    tracing.count("cache_hits", hits)
    tracing.count("cache_misses", misses)


def show_cached_bytes(count: int) -> None:
    """Say how many bytes the embeddings that are kept take now."""
    _CACHED_BYTES.set(count)


def count_indexed(modality: str, status: str) -> None:
    """Count one item that was indexed, unchanged or failed."""
    _INDEXED.labels(modality, status).inc()


def count_lost_decoder(reason: DecoderLoss) -> None:
    """Count one decoding process that was lost."""
    _LOST_DECODERS.labels(reason).inc()


def count_problem(error: CrossModalError) -> None:
    """Count one problem response, and whether it turned a request away; the request's span says it too."""
    _PROBLEMS.labels(error.code).inc()
    if error.shed is not None:
        _SHED.labels(error.shed).inc()
    tracing.fault(error)


def count_request(work: str, status: int, seconds: float) -> None:
    """Count one request; ``work`` is interactive or bulk, ``status`` what was answered, 0 if nothing was."""
    _REQUEST_SECONDS.labels(work, f"{status // 100}xx" if status else "none").observe(seconds)


def in_flight() -> AbstractContextManager[None]:
    """Count a request as being answered while the block runs."""
    return _IN_FLIGHT.track_inprogress()


def show_ready(*, ready: bool) -> None:
    """Say what a probe of readiness was just told."""
    _READY.set(ready)


def show_model(*, model: str, fingerprint: str, device: str, precision: str) -> None:
    """Say which model is served."""
    _MODEL.labels(model, fingerprint, device, precision).set(1)


def start_stages() -> Token[dict[str, float] | None]:
    """Begin to collect stage times for the request of this context."""
    return _stages.set({})


def current_stages() -> dict[str, float]:
    """Seconds per stage of the present request so far."""
    return _stages.get() or {}


def end_stages(token: Token[dict[str, float] | None]) -> None:
    """Stop collecting."""
    _stages.reset(token)


def record_stage(stage: str, seconds: float) -> None:
    """Add ``seconds`` to one of ``STAGES`` of the present request."""
    _OF_STAGE[stage].observe(seconds)
    stages = _stages.get()
    if stages is not None:
        stages[stage] = stages.get(stage, 0.0) + seconds


def record_wait(kind: str, lane: str, seconds: float) -> None:
    """Count how long a request's items of ``kind`` (text, image, decoder) waited for their turn."""
    _QUEUE_SECONDS.labels(kind, lane).observe(seconds)


class _Timed:
    """A block that is timed within a span; what ``name`` took is recorded where it ends."""

    __slots__ = ("_began", "_name", "_span")

    def __init__(self, name: str, span: AbstractContextManager[object]) -> None:
        self._name = name
        self._span = span

    def __enter__(self) -> None:
        self._span.__enter__()
        self._began = time.perf_counter()


class _Stage(_Timed):
    """See ``stage``."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        record_stage(self._name, time.perf_counter() - self._began)
        self._span.__exit__(kind, error, trace)


def stage(name: str, *, calls: bool = False, **attributes: tracing.Value) -> AbstractContextManager[None]:
    """Time a block as a stage of the present request, and make a span of it; see ``tracing.span``."""
    return _Stage(name, tracing.span(name, calls=calls, **attributes))


class _StoreUse(_Timed):
    """See ``store_use``."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _OF_OPERATION[self._name].observe(time.perf_counter() - self._began)
        if isinstance(error, Exception) and not isinstance(error, ClientError):
            _STORE_FAILURES.labels(self._name).inc()
        self._span.__exit__(kind, error, trace)


def store_use(store: str, operation: str, items: int) -> AbstractContextManager[None]:
    """Count and time one use of the vector store, of ``items`` or up to so many; a client's fault is none of the store's."""
    return _StoreUse(operation, tracing.span(f"store {operation}", store=store, operation=operation, items=items))


def server_timing(stages: dict[str, float]) -> str:
    """`Server-Timing` header value: stages in their order, in milliseconds."""
    return ", ".join(f"{name};dur={stages[name] * 1000:.1f}" for name in STAGES if name in stages)


def _add_ids(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event.setdefault("request_id", request_id.get())
    if (trace := tracing.trace_id()) is not None:
        event.setdefault("trace_id", trace)
    return event


class _Lossy:
    """A stream that loses what cannot be written, as to a full disk: no request fails because it cannot be logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure_logging(level: int = logging.INFO) -> None:
    """One JSON object a line on stderr, with the ids of request and trace; callable more than once."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_ids,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # The stderr of now: tests and servers replace it.
        logger_factory=lambda *_: structlog.PrintLogger(cast("TextIO", _Lossy(sys.stderr))),
        cache_logger_on_first_use=False,
    )
