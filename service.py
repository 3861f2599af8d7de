"""The two Bento services: the HTTP API that is the entry, and the encoder that can stand apart from it.

`bentoml serve service:CrossModalSearch`. With `CROSSMODAL_ENCODER=local` (the default) the model lives in the API's
process and the `Encoder` service is not started; with `service` it is, and several API workers can feed it. With
`CROSSMODAL_ENCODER_URL` too it is not started here: `bentoml serve service:Encoder` elsewhere, and the API calls that.
"""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import bentoml
import numpy as np
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.context import server_context
from bentoml.exceptions import BentoMLException
from bentoml.validators import ContentType
from starlette.types import ASGIApp

from crossmodal import __version__, memory, supervision, tracing
from crossmodal.batching import Lane
from crossmodal.clip.base import ClipModel, ModelInfo
from crossmodal.deadline import TimeoutMiddleware
from crossmodal.encoder.remote import pack_info, pack_texts
from crossmodal.encoder.serving import EncoderApp, check_pixels, lane_of
from crossmodal.encoder.wire import PATH as ENCODER_PATH
from crossmodal.errors import CrossModalError, DeadlineExceeded, ModelUnavailable, Overloaded, Shed
from crossmodal.lifecycle import ApiLife, end_if_hung, settings_or_exit
from crossmodal.settings import BatcherKind, EncoderPlace
from crossmodal.startup import build_model
from crossmodal.telemetry import configure_logging

# These, and what is imported where it is used, take seconds, which a process that starts workers saves.
if TYPE_CHECKING:
    from crossmodal.search.pictures import PictureReader
    from crossmodal.wiring import Container

_OVER_BENTOML = 30
"""BentoML's own limit of time is this much above ours, seconds: ours answers in the contract's words."""
_API, _ENCODER = "CrossModalSearch", "Encoder"
"""The names of the services, as they stand on their workers' command lines."""

supervision.end_quietly_on_sigterm()
# BentoML starts dead workers again, but not in a container, which would end instead. A replica that goes on with a new
# worker in seconds is worth more than one that its scheduler has to place and start again.
os.environ.pop("BENTOML_CONTAINERIZED", None)
settings = settings_or_exit()

_BESIDE = settings.encoder is EncoderPlace.SERVICE and settings.encoder_url is None
"""Whether the `Encoder` service is started with the API."""
_begun: Future[ClipModel] | None = None
"""The model, if this process is the one that loads it: in a thread, while the rest is imported."""


def _keep_little(begun: Future[ClipModel]) -> None:
    """Let the API give back what uploads took, but not beside a model whose tensors come from the C library too."""
    if begun.exception() is None:
        info = begun.result().info
        if (info.runtime, info.device) != ("torch", "cpu"):
            memory.keep_little()


if supervision.served():
    configure_logging()
    supervision.take_turns_quickly()
if supervision.served() == (_API if settings.encoder is EncoderPlace.LOCAL else _ENCODER):
    _begun = supervision.begin(lambda: build_model(settings))
    _begun.add_done_callback(supervision.collect_nothing_meanwhile())
if supervision.served() == _API:
    if _begun is None:
        memory.keep_little()
    else:
        _begun.add_done_callback(_keep_little)

_pictures: "PictureReader | None" = None
"""The decoders of the API, which start meanwhile too."""
if supervision.served() == _API:
    from crossmodal.wiring import build_pictures

    with supervision.fatal_if_misconfigured():
        _pictures = build_pictures(settings)
    _pictures.begin()


def _trace(part: str) -> bool:
    """Send spans of this process from now on, if a collector is named; whether BentoML's own are wanted."""
    if settings.otlp_endpoint is None:
        return BentoMLContainer.tracing.exporter_type.get() is not None
    name = f"{settings.service_name}-{part}"
    tracing.start(settings.otlp_endpoint, ratio=settings.trace_ratio, service=name, version=__version__)
    return False


def _share_connections() -> None:
    """Let the workers of a service that has several take as many connections each."""
    name, worker, shared = supervision.served(), server_context.worker_index, supervision.shared_memory()
    count = {_API: settings.api_workers, _ENCODER: settings.encoder_workers}.get(name or "", 1)
    if count > 1 and worker is not None and shared is not None:
        from crossmodal.api.accepting import Counts, share_connections

        share_connections(Counts(shared / f"connections-{name}", worker - 1))


async def _nobody(*_: object) -> None:
    """Stand for the app where nothing is served."""
    raise RuntimeError("this process starts workers and serves nothing")


app: Any = None
"""The HTTP API's FastAPI app; None in the process that starts workers, which needs none of what that imports."""
_mounted: ASGIApp = _nobody
if not supervision.only_starts_workers():
    from bentoml._internal.server.http import traffic

    from crossmodal.api import create_app, protocol
    from crossmodal.api.foreign import Inside

    # BentoML builds one by this name for each service; its own remembers each request for as long as it might take.
    traffic.TimeoutMiddleware = TimeoutMiddleware  # type: ignore[misc,assignment]
    protocol.install()
    _share_connections()
    app = create_app()
    _mounted = Inside(app)

_over_http = EncoderApp(max_bytes=settings.max_buffered_bytes, timeout=settings.timeout)
"""The encoder of this process for APIs elsewhere, once it has one."""

Vectors = Annotated[np.ndarray, ContentType("application/json")]
"""The content type keeps BentoML from rebuilding a JSON schema for every response. Not ``NDArray[np.float32]``, which is an
alias from numpy 2.5 on that BentoML cannot read."""


def _supervise() -> None:
    from bentoml._internal.utils.circus import Arbiter

    supervision.supervise()
    supervision.stop_before_cleaning(Arbiter)


@contextmanager
def _as_status() -> Iterator[None]:
    """Carry our errors between services as BentoML does: by their HTTP status."""
    try:
        yield
    except CrossModalError as error:
        raise BentoMLException(error.detail, error_code=HTTPStatus(error.status)) from error


@bentoml.service(
    workers=settings.encoder_workers,
    traffic={"timeout": settings.timeout + _OVER_BENTOML},
    # The caller's client otherwise drops its connection every 100 requests, and whatever is in flight on it.
    runner_connection={"max_requests": 10**9, "max_age": 1e9},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(_over_http, path=ENCODER_PATH)
class Encoder:
    """Owns the model: texts and pixels in, unit vectors out; of several workers each has one of its own."""

    def __init__(self) -> None:
        configure_logging()
        supervision.end_with_parent()
        with supervision.fatal_if_misconfigured(), supervision.exit_on_sigterm():
            self._model = build_model(settings) if _begun is None else _begun.result()
        if settings.batcher is BatcherKind.OURS:
            from crossmodal.wiring import build_local_encoder

            self._encoder = build_local_encoder(settings, self._model)

    @bentoml.on_deployment
    @staticmethod
    def supervise() -> None:
        """In the parent process, before any worker starts."""
        _supervise()

    @bentoml.on_startup
    async def start(self) -> None:
        """On SIGTERM stay until the API, which gets it too, has finished with us."""
        supervision.on_sigterm(lambda: supervision.others_ended(_API, within=settings.drain + settings.timeout))
        if settings.batcher is BatcherKind.OURS:
            self._watch = asyncio.create_task(end_if_hung(self._encoder, settings.stall))
            _over_http.encoder = self._encoder

    @bentoml.api
    async def describe(self) -> dict[str, Any]:
        """The model's ``ModelInfo`` as a JSON object; fails while the model hangs."""
        if settings.batcher is BatcherKind.BENTOML:
            return pack_info(self._model.info)
        with _as_status():
            await self._encoder.ping()
            return pack_info(await self._encoder.info())

    if settings.batcher is BatcherKind.BENTOML:
        # Its dispatcher has to know before a model is loaded.
        @bentoml.api(
            batchable=True, max_batch_size=settings.max_batch_images or 16, max_latency_ms=settings.timeout * 1000
        )
        def embed_pixels(self, pixels: np.ndarray) -> Vectors:
            """Embed uint8 [n, size, size, 3]; batches are gathered by BentoML."""
            return self._model.embed_pixels(pixels)

        @bentoml.api(
            batchable=True, max_batch_size=settings.max_batch_texts or 32, max_latency_ms=settings.timeout * 1000
        )
        def embed_texts(self, texts: list[str]) -> Vectors:
            """Embed texts, packed for the wire; batches are gathered by BentoML."""
            return pack_texts(self._model.embed_texts(texts))

    else:

        @bentoml.api
        async def embed_pixels(
            self, pixels: np.ndarray, lane: str = Lane.INTERACTIVE.value, fingerprint: str = ""
        ) -> Vectors:
            """Embed uint8 [n, size, size, 3]; ``fingerprint``, if there is one, says which model is meant."""
            with _as_status():
                check_pixels(pixels, await self._meant(fingerprint))
                return await self._encoder.embed_pixels(pixels, lane_of(lane))

        @bentoml.api
        async def embed_texts(
            self, texts: list[str], lane: str = Lane.INTERACTIVE.value, fingerprint: str = ""
        ) -> Vectors:
            """Embed texts, packed for the wire; ``fingerprint``, if there is one, says which model is meant."""
            with _as_status():
                await self._meant(fingerprint)
                return pack_texts(await self._encoder.embed_texts(texts, lane_of(lane)))

        async def _meant(self, fingerprint: str) -> ModelInfo:
            """Refuse work that is meant for another model: a caller must not mix the vectors of two."""
            info = await self._encoder.info()
            if fingerprint not in {"", info.fingerprint}:
                raise ModelUnavailable("another model is meant than the one that is loaded here")
            return info

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what runs."""
        if settings.batcher is BatcherKind.OURS:
            self._watch.cancel()
            await self._encoder.close()
        await asyncio.to_thread(tracing.stop)


if supervision.served() == _ENCODER and not _trace("encoder"):
    # BentoML's middleware would make spans of each request, and of each piece of one, for nobody, or ones that stand between
    # ours and have no place to go.
    from crossmodal.tracing.foreign import Unspanned

    protocol.stand_around(Unspanned)
    if tracing.is_on():
        from crossmodal.encoder.traced import TracedEncoder

        service: Any = Encoder
        service.add_asgi_middleware(TracedEncoder)


async def _index_samples(container: "Container") -> None:
    if settings.samples is not None:
        from indexer.samples import index_samples_once

        await index_samples_once(container, settings.samples)


class _Remote:
    """Calls the `Encoder` service through BentoML's client, and says in our errors what went wrong."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, method: str, /, **arguments: Any) -> Any:
        import aiohttp

        try:
            return await self._client.call(method, **arguments)
        except TimeoutError as error:
            raise DeadlineExceeded("the model did not answer in time; try again") from error
        except BentoMLException as error:
            if error.error_code == HTTPStatus.TOO_MANY_REQUESTS:
                raise Overloaded("too much waits for the model; try again in a moment", shed=Shed.MODEL) from error
            raise ModelUnavailable("the model does not answer; try again in a moment") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ModelUnavailable("the model's process cannot be reached; try again in a moment") from error


@bentoml.service(
    workers=settings.api_workers,
    traffic={"timeout": settings.timeout + _OVER_BENTOML},
    # Ours is the edge's: BentoML's breaks on content types that are not UTF-8, and a path can forge lines of it.
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(_mounted, path="/")
class CrossModalSearch:
    """The HTTP API; see `/docs.json`."""

    if _BESIDE:
        remote = bentoml.depends(Encoder)

    def __init__(self) -> None:
        configure_logging()
        supervision.end_with_parent()
        from crossmodal.api import protocol

        self._life = ApiLife(settings, app, _pictures)
        traced = _trace("api")
        protocol.stand_around(lambda server: self._life.around(server, traced=traced))

    @bentoml.on_deployment
    @staticmethod
    def supervise() -> None:
        """In the parent process, before any worker starts."""
        _supervise()

    @bentoml.on_startup
    async def start(self) -> None:
        """Begin to load; until model and store answer the service is alive, but not ready."""
        self._life.start(_index_samples, begun=_begun, beside=_Remote(self.remote.to_async) if _BESIDE else None)

    async def __is_ready__(self) -> bool:
        """Model warm, encoder alive, store reachable; BentoML's `/readyz` asks."""
        return await self._life.ready()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what runs and release the store."""
        await self._life.stop()
