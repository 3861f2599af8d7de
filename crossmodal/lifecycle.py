"""The life of a process that serves: it begins with its settings, an API becomes ready, drains and ends, a hung model ends it.

Nothing here knows what serves it: `service.py` calls at the moments that BentoML gives. What signals and children need is
in ``supervision``. Small to import, as ``startup`` is.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

import structlog

from crossmodal import supervision, tracing
from crossmodal.clip.base import ClipModel
from crossmodal.errors import ConfigurationError, CrossModalError
from crossmodal.settings import BatcherKind, Settings, load_settings
from crossmodal.startup import build_model, check_files
from crossmodal.telemetry import configure_logging

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp

    from crossmodal.encoder import Encoder, LocalEncoder
    from crossmodal.encoder.remote import Call
    from crossmodal.search.pictures import PictureReader
    from crossmodal.wiring import Container

__all__ = ["ApiLife", "end_if_hung", "settings_or_exit"]

_RETRY_SECONDS = 0.5
_HUNG_FACTOR = 3
"""A process whose model has hung for so many times the time that makes it unready ends and is started anew."""

Fill = Callable[["Container"], Awaitable[None]]
"""Indexes what is to be there before the first request."""

log = structlog.get_logger()


def settings_or_exit() -> Settings:
    """The settings, once the files that they name are read; ends the process with one line where these are not valid."""
    try:
        settings = load_settings()
        if settings.keys_file is not None:
            from crossmodal.api.gate import Gatekeeper

            Gatekeeper.from_settings(settings)
        check_files(settings)
    except ConfigurationError as error:
        configure_logging()
        log.critical("cannot start", code=error.code, detail=error.detail)
        sys.exit(supervision.EXIT_MISCONFIGURED)
    return settings


async def end_if_hung(encoder: "LocalEncoder", stall: float) -> None:
    """End the process once its model has hung for several times ``stall`` seconds, or its device is lost.

    Nothing can stop a thread that hangs in the model, or have a lost device back, but the process can be replaced.
    """
    while not encoder.lost and encoder.busy_seconds < _HUNG_FACTOR * stall:  # noqa: ASYNC110 -- a hung thread sets no event
        await asyncio.sleep(stall / 10)
    event = "the model's device is lost" if encoder.lost else "the model hangs; this process ends and is started anew"
    log.critical(event, seconds=encoder.busy_seconds)
    os._exit(1)


class ApiLife:
    """One process of the API: alive from the start, ready once model and store answer, drained before it ends."""

    def __init__(self, settings: Settings, app: "FastAPI", pictures: "PictureReader | None") -> None:
        """``app`` gets the container, with ``pictures`` in it. Ends the server if the keys file cannot be read."""
        from crossmodal.api import Traffic
        from crossmodal.api.gate import Gatekeeper

        self._settings = settings
        self._app = app
        self._pictures = pictures
        with supervision.fatal_if_misconfigured():
            self._gate = Gatekeeper.from_settings(settings)
        self._traffic = Traffic.from_settings(settings)
        self._container: Container | None = None
        self._started = False
        self._tasks: list[asyncio.Task[None]] = []

    def around(self, server: "ASGIApp", *, traced: bool) -> "ASGIApp":
        """The edge around ``server`` with the app inside, see ``edge_around``: it knows when this process drains."""
        from crossmodal.api import edge_around

        origins = self._settings.cors_origins
        return edge_around(server, self._app, traffic=self._traffic, gate=self._gate, origins=origins, traced=traced)

    def start(self, fill: Fill, *, begun: "Future[ClipModel] | None", beside: "Call | None") -> None:
        """Begin to load in the running loop, the main thread's; until all answers the process is alive, but not ready.

        The model is that behind the settings' URL, or the one that is called by ``beside``, or else in this process: the one
        that ``begun`` loads, if anything does. It is ready when model and store are open and ``fill`` has indexed what is
        to be there from the start. What can never work ends the server, what may work later is tried again.
        """
        supervision.on_sigterm(self._drain)
        self._gate.start()
        self._tasks.append(asyncio.create_task(self._become_ready(fill, begun, beside)))

    async def ready(self) -> bool:
        """Model warm, encoder alive, store reachable."""
        return self._started and self._container is not None and await self._container.ready()

    async def stop(self) -> None:
        """Finish what runs and release the store."""
        self._gate.close()
        for task in self._tasks:
            task.cancel()
        if self._container is None:
            os._exit(0)  # the thread that loads the model cannot be ended, and nothing else is under way
        await self._container.close()
        await asyncio.to_thread(tracing.stop)

    async def _become_ready(self, fill: Fill, begun: "Future[ClipModel] | None", beside: "Call | None") -> None:
        from crossmodal.wiring import build_container

        try:
            with supervision.fatal_if_misconfigured():
                encoder = await self._make_encoder(begun, beside)
                container = build_container(self._settings, encoder, self._pictures)
                self._container = self._app.state.container = container
        except Exception:
            log.exception("loading failed; this process ends and is started anew")
            os._exit(1)
        said = ""
        while not self._started:
            try:
                with supervision.fatal_if_misconfigured():
                    await container.pictures.start()
                    await container.open()
                    await fill(container)
                self._started = True
            except CrossModalError as error:
                if said != (said := error.detail):
                    log.warning("waiting", code=error.code, detail=error.detail, cause=repr(error.__cause__))
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                log.exception("opening failed")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _make_encoder(self, begun: "Future[ClipModel] | None", beside: "Call | None") -> "Encoder":
        from crossmodal.encoder import RemoteEncoder
        from crossmodal.wiring import build_local_encoder, build_remote_encoder

        settings = self._settings
        if settings.encoder_url is not None:
            return build_remote_encoder(settings, settings.encoder_url)
        if beside is not None:
            return RemoteEncoder(beside, with_lane=settings.batcher is BatcherKind.OURS)
        model = await supervision.outcome(begun or supervision.begin(lambda: build_model(settings)))
        encoder = build_local_encoder(settings, model)
        self._tasks.append(asyncio.create_task(end_if_hung(encoder, settings.stall)))
        return encoder

    async def _drain(self) -> None:
        """Not ready from now on, but answering still, for load balancers take their time; then finish what is left."""
        self._traffic.draining = True
        if self._started:
            await asyncio.sleep(self._settings.drain)
        self._traffic.closed = True
        await self._traffic.drained()
