"""A service that wants keys, in a thread: the real app and gate, on a real socket, with a model that understands colours."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits, create_app
from crossmodal.api.gate import Gatekeeper
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.settings import Settings
from crossmodal.wiring import build_container
from tests.fakes import ColourModel
from tests.keys import write_keys

_START_SECONDS = 30


async def _serve(settings: Settings, listener: socket.socket, ready: threading.Event, stop: threading.Event) -> None:
    container = build_container(settings, LocalEncoder(ColourModel(), BatchLimits(images=4, texts=8, queued=1024)))
    await container.open()
    gatekeeper = Gatekeeper.from_settings(settings)
    app = create_app()
    app.state.container = container
    edge = EdgeMiddleware(app, traffic=Traffic(TrafficLimits(body=settings.max_body_bytes)), gate=gatekeeper)
    server = uvicorn.Server(uvicorn.Config(edge, lifespan="off", ws="none", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ready.set()
    while not stop.is_set():  # noqa: ASYNC110  set in another thread
        await asyncio.sleep(0.05)
    server.should_exit = True
    await serving
    await container.close()


@contextmanager
def keyed_service(folder: Path, *entries: dict[str, Any]) -> Iterator[str]:
    """The address of a service that knows the keys of ``entries``."""
    settings = Settings(store="memory:", data=folder, keys_file=write_keys(folder / "keys.json", *entries))
    ready, stop = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=lambda: asyncio.run(_serve(settings, listener, ready, stop)), name="keyed")
        thread.start()
        try:
            assert ready.wait(_START_SECONDS)
            yield url
        finally:
            stop.set()
            thread.join()
