"""The two Bento services: the HTTP API that is the entry, and the encoder that can stand apart from it.

`bentoml serve service:CrossModalSearch`. With `CROSSMODAL_ENCODER=local` (the default) the model lives in the API's
process and the `Encoder` service is not started; with `service` it is, and several API workers can feed it.
"""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, cast

import aiohttp
import bentoml
import numpy as np
import structlog
from bentoml.exceptions import BentoMLException
from bentoml.validators import ContentType
from numpy.typing import NDArray

from crossmodal.api import EdgeMiddleware, create_app
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.encoder import Encoder as EncoderPort
from crossmodal.encoder import Lane, LocalEncoder
from crossmodal.errors import (
    ConfigurationError,
    CrossModalError,
    DeadlineExceeded,
    FingerprintMismatch,
    ModelUnavailable,
    Overloaded,
)
from crossmodal.records import Embeddings, Pixels, Preprocessing
from crossmodal.settings import BatcherKind, EncoderPlace, load_settings
from crossmodal.telemetry import configure_logging, stage
from crossmodal.wiring import build_container, build_local_encoder, build_model
from indexer.samples import index_samples_once

_OPEN_RETRY_SECONDS = 0.5
_PARENT = os.getppid()

log = structlog.get_logger()
settings = load_settings()
app = create_app()

Vectors = Annotated[NDArray[np.float32], ContentType("application/json")]
"""The content type keeps BentoML from rebuilding a JSON schema for every response."""


def _pack(answer: TextEmbeddings) -> NDArray[np.float32]:
    """One array for the wire, float32 [n, dim + 2]: the embeddings, then the tokens, then whether truncated."""
    return np.column_stack([answer.embeddings, answer.tokens, answer.truncated]).astype(np.float32)


def _unpack(packed: NDArray[np.float32]) -> TextEmbeddings:
    return TextEmbeddings(
        np.ascontiguousarray(packed[:, :-2]), packed[:, -2].astype(np.int32), packed[:, -1].astype(np.bool_)
    )


def _foreign(error: CrossModalError) -> BentoMLException:
    """The error as BentoML carries it between services: by its HTTP status."""
    return BentoMLException(error.detail, error_code=HTTPStatus(error.status))


@contextmanager
def _fatal_if_misconfigured() -> Iterator[None]:
    """End the whole server with one line if the block finds settings, weights or store unusable.

    Ending this worker alone would not do: BentoML starts it again, and it fails again, for ever.
    """
    try:
        yield
    except (ConfigurationError, FingerprintMismatch) as error:
        log.critical("cannot start", code=error.code, detail=error.detail)
        if os.getppid() == _PARENT:
            os.kill(_PARENT, signal.SIGTERM)
        os._exit(1)


@bentoml.service(
    workers=1,
    traffic={"timeout": settings.timeout},
    # The caller's client otherwise drops its connection every 100 requests, and whatever is in flight on it.
    runner_connection={"max_requests": 10**9, "max_age": 1e9},
    logging={"access": {"enabled": False}},
)
class Encoder:
    """Owns the model: texts and pixels in, unit vectors out."""

    def __init__(self) -> None:
        configure_logging()
        with _fatal_if_misconfigured():
            if settings.batcher is BatcherKind.BENTOML:
                self._model = build_model(settings)
            else:
                self._encoder: LocalEncoder = build_local_encoder(settings)

    @bentoml.api
    async def describe(self) -> dict[str, Any]:
        """The model's ``ModelInfo`` as a JSON object."""
        if settings.batcher is BatcherKind.BENTOML:
            return asdict(self._model.info)
        return asdict(await self._encoder.info())

    if settings.batcher is BatcherKind.BENTOML:

        @bentoml.api(batchable=True, max_batch_size=settings.max_batch_images, max_latency_ms=settings.timeout * 1000)
        def embed_pixels(self, pixels: np.ndarray) -> Vectors:
            """Embed uint8 [n, size, size, 3]; batches are gathered by BentoML."""
            return self._model.embed_pixels(pixels)

        @bentoml.api(batchable=True, max_batch_size=settings.max_batch_texts, max_latency_ms=settings.timeout * 1000)
        def embed_texts(self, texts: list[str]) -> Vectors:
            """Embed texts, packed for the wire; batches are gathered by BentoML."""
            return _pack(self._model.embed_texts(texts))

    else:

        @bentoml.api
        async def embed_pixels(self, pixels: np.ndarray, lane: str = Lane.INTERACTIVE.value) -> Vectors:
            """Embed uint8 [n, size, size, 3]."""
            try:
                return await self._encoder.embed_pixels(pixels, Lane(lane))
            except CrossModalError as error:
                raise _foreign(error) from error

        @bentoml.api
        async def embed_texts(self, texts: list[str], lane: str = Lane.INTERACTIVE.value) -> Vectors:
            """Embed texts, packed for the wire."""
            try:
                return _pack(await self._encoder.embed_texts(texts, Lane(lane)))
            except CrossModalError as error:
                raise _foreign(error) from error

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what runs."""
        if settings.batcher is BatcherKind.OURS:
            await self._encoder.close()


class RemoteEncoder:
    """The `Encoder` service behind the port; ``remote`` is BentoML's asynchronous client of it."""

    def __init__(self, remote: Any) -> None:
        self._remote = remote
        self._info: ModelInfo | None = None

    async def info(self) -> ModelInfo:
        """What the encoder has loaded; asked once."""
        if self._info is None:
            members = await self._call("describe")
            members["preprocessing"] = Preprocessing(**members["preprocessing"])
            self._info = ModelInfo(**members)
        return self._info

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:
        """Embed uint8 [n, size, size, 3]."""
        if not len(pixels):
            return np.empty((0, (await self.info()).dim), dtype=np.float32)
        with stage("embed"):
            embeddings: Embeddings = await self._call("embed_pixels", pixels=pixels, **self._lane(lane))
        return embeddings

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:
        """Embed texts."""
        if not texts:
            none = np.empty((0, (await self.info()).dim + 2), dtype=np.float32)
            return _unpack(none)
        with stage("embed"):
            return _unpack(await self._call("embed_texts", texts=list(texts), **self._lane(lane)))

    async def close(self) -> None:
        """Nothing to release: BentoML owns the connection."""

    @staticmethod
    def _lane(lane: Lane) -> dict[str, str]:
        # BentoML's batchable methods take one argument only.
        return {} if settings.batcher is BatcherKind.BENTOML else {"lane": lane.value}

    async def _call(self, method: str, **arguments: Any) -> Any:
        try:
            return await self._remote.call(method, **arguments)
        except TimeoutError as error:
            raise DeadlineExceeded("the model did not answer in time; try again") from error
        except BentoMLException as error:
            if error.error_code == HTTPStatus.TOO_MANY_REQUESTS:
                raise Overloaded("too much waits for the model; try again in a moment") from error
            raise ModelUnavailable("the model does not answer; try again in a moment") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ModelUnavailable("the model's process cannot be reached; try again in a moment") from error


@bentoml.service(
    workers=settings.api_workers,
    traffic={"timeout": settings.timeout},
    # The access log decodes content types as UTF-8 and breaks the answer where one is not.
    logging={"access": {"request_content_type": False}},
)
@bentoml.asgi_app(app, path="/")
class CrossModalSearch:
    """The HTTP API; see `/docs.json`."""

    if settings.encoder is EncoderPlace.SERVICE:
        remote = bentoml.depends(Encoder)

    def __init__(self) -> None:
        configure_logging()
        with _fatal_if_misconfigured():
            encoder: EncoderPort
            if settings.encoder is EncoderPlace.SERVICE:
                encoder = RemoteEncoder(self.remote.to_async)
            else:
                encoder = build_local_encoder(settings)
            self._container = build_container(settings, encoder)
        self._started = False
        app.state.container = self._container

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the store as soon as the encoder and the store answer; until then the service is not ready."""
        self._opening = asyncio.create_task(self._open_when_all_answer())

    async def _open_when_all_answer(self) -> None:
        while not self._started:
            try:
                await self._open()
            except CrossModalError as error:
                log.warning("waiting", code=error.code, detail=error.detail, cause=repr(error.__cause__))
                await asyncio.sleep(_OPEN_RETRY_SECONDS)
            except Exception:
                log.exception("opening failed")
                await asyncio.sleep(_OPEN_RETRY_SECONDS)

    async def _open(self) -> None:
        with _fatal_if_misconfigured():
            await self._container.pictures.start()
            await self._container.open()
            if settings.samples is not None:
                await index_samples_once(self._container, settings.samples)
        self._started = True

    async def __is_ready__(self) -> bool:
        """Model warm, encoder alive, store reachable; BentoML's `/readyz` asks."""
        return self._started and await self._container.ready()

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Finish what runs and release the store."""
        self._opening.cancel()
        await self._container.close()


cast("Any", CrossModalSearch).add_asgi_middleware(EdgeMiddleware, max_body_bytes=settings.max_body_bytes)
