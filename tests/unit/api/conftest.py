"""The whole service in this process, with a model that understands colours, over ASGI."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits, create_app
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.settings import Settings
from crossmodal.wiring import Container, build_container
from tests.fakes import ColourModel
from tests.policies import POLICIES

MAX_BODY = 200_000


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store="memory:",
        data=tmp_path,
        max_body_bytes=MAX_BODY,
        max_image_bytes=MAX_BODY,
        max_text_chars=500,
        policies=POLICIES,
    )


@pytest.fixture
async def container(settings: Settings, model: ColourModel) -> AsyncIterator[Container]:
    limits = BatchLimits(images=4, texts=8, queued=64)
    container = build_container(settings, LocalEncoder(model, limits))
    await container.open()
    yield container
    await container.close()


@pytest.fixture
async def client(container: Container) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app()
    app.state.container = container
    transport = httpx.ASGITransport(EdgeMiddleware(app, traffic=Traffic(TrafficLimits(body=MAX_BODY))))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
