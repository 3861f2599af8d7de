"""An API from its start to its end, in this process: what serves it and what it is asked are real, the model knows colours."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from structlog.testing import capture_logs

from crossmodal.api import create_app
from crossmodal.api.foreign import Inside
from crossmodal.clip.base import ClipModel
from crossmodal.errors import StoreUnavailable
from crossmodal.lifecycle import ApiLife, settings_or_exit
from crossmodal.settings import Settings
from crossmodal.supervision import EXIT_MISCONFIGURED
from crossmodal.wiring import Container
from tests.fakes import ColourModel
from tools.servers import ROOT


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    """Put back who handles SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class Filling:
    """Indexes nothing, and fails the first few times, as where the store is not there yet."""

    def __init__(self, failures: int = 0) -> None:
        self.left = failures
        self.filled: list[Container] = []

    async def __call__(self, container: Container) -> None:
        if self.left:
            self.left -= 1
            raise StoreUnavailable("not there yet")
        self.filled.append(container)


@asynccontextmanager
async def living(folder: Path, begun: "Future[ClipModel]", filling: Filling) -> AsyncIterator[tuple[ApiLife, FastAPI]]:
    """An API that has begun, once it is ready, and its app."""
    app = create_app()
    life = ApiLife(Settings(store="memory:", data=folder, drain=2), app, None)
    life.start(filling, begun=begun, beside=None)
    assert not await life.ready()
    if not begun.done():
        begun.set_result(ColourModel())
    async with asyncio.timeout(30):
        while not await life.ready():  # noqa: ASYNC110 -- a probe asks, nobody tells it
            await asyncio.sleep(0.05)
    yield life, app
    await life.stop()


async def test_it_becomes_ready_when_what_failed_at_first_works(tmp_path: Path) -> None:
    filling = Filling(failures=2)
    with capture_logs() as logs:
        async with living(tmp_path, Future(), filling) as (life, app):
            assert filling.filled == [app.state.container]
            assert await life.ready()
        assert not await life.ready()
    assert [entry["detail"] for entry in logs if entry["event"] == "waiting"] == ["not there yet"]


async def test_sigterm_makes_it_unready_at_once_and_refuse_work_after_a_while(tmp_path: Path) -> None:
    async with living(tmp_path, Future(), Filling()) as (life, app):

        async def readyz(_: Request) -> Response:
            return Response(status_code=200 if await life.ready() else 503)

        app.add_route("/readyz", readyz)  # which is BentoML's
        transport = httpx.ASGITransport(life.around(Inside(app), traced=False))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def statuses() -> tuple[int, int]:
                return (await client.get("/readyz")).status_code, (await client.get("/stats")).status_code

            assert await statuses() == (200, 200)
            signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                seen = [await statuses()]
                while seen[-1] != (503, 503):
                    await asyncio.sleep(0.05)
                    seen.append(await statuses())
    assert (503, 200) in seen


@pytest.mark.parametrize(("lost", "event"), [(True, "the model's device is lost"), (False, "the model hangs; ")])
def test_a_process_whose_model_is_gone_ends(*, lost: bool, event: str) -> None:
    program = f"""
import asyncio
from types import SimpleNamespace
from crossmodal.lifecycle import end_if_hung
asyncio.run(end_if_hung(SimpleNamespace(lost={lost}, busy_seconds=3.0), 1.0))
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert outcome.returncode == 1
    assert event in outcome.stdout


@pytest.mark.parametrize(
    ("name", "value", "said"), [("TIMEOUT", "soon", "CROSSMODAL_TIMEOUT"), ("KEYS_FILE", "nowhere", "keys")]
)
def test_settings_that_are_not_valid_end_it_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"CROSSMODAL_{name}", value)
    with pytest.raises(SystemExit) as ended:
        settings_or_exit()
    assert ended.value.code == EXIT_MISCONFIGURED
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "cannot start"
    assert said in json.loads(line)["detail"]
