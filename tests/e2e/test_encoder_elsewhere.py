"""API and encoder as servers of their own: the same answers, and what callers get while there is no encoder, or another."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file, save_file

from crossmodal.encoder import wire
from tests.e2e.conftest import CHOSEN_OBJECT, SAMPLES, small_gallery
from tests.faults.checks import problem, until
from tools.servers import ROOT, Server, free_port

pytestmark = pytest.mark.e2e

TEXTS = ["a dog", "three bananas on a blue background", "grün 🍌 " * 60]
RECOVERY_SECONDS = 90


class EncoderServer(Server):
    """`bentoml serve service:Encoder` on a port that is given: where its callers look for it."""

    def __init__(self, folder: Path, port: int, model: str = "tiny") -> None:
        self._given = port
        super().__init__(folder, "service:Encoder", MODEL=model, STORE="memory:")

    def command(self, target: str) -> list[str]:
        self.port, self.url = self._given, f"http://127.0.0.1:{self._given}"
        return super().command(target)

    def kill(self) -> None:
        """End all its processes at once; a worker would answer for a moment longer than its parent."""
        workers = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for worker in workers:
            worker.kill()
        psutil.wait_procs(workers, timeout=10)
        self.process.wait(10)


class Apart:
    """An API, and the encoder that it was told of; no model is to be had where the API is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.encoder: EncoderServer | None = None
        self.api = Server(
            folder / "api",
            MODEL="ViT-B-32/no-such-weights",
            ENCODER="service",
            ENCODER_URL=f"http://127.0.0.1:{self.port}",
            SAMPLES=str(small_gallery(folder / "gallery")),
        )

    def start_encoder(self, model: str = "tiny") -> EncoderServer:
        self.encoder = EncoderServer(self.folder / "encoder", self.port, model)
        self.encoder.wait_until_ready()
        return self.encoder

    def stop_encoder(self) -> None:
        if self.encoder is not None:
            self.encoder.stop()

    def embed(self, *texts: str) -> httpx.Response:
        return httpx.post(f"{self.api.url}/embed/texts", json={"texts": texts}, timeout=60)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    """Both running; the API was there first, and waited."""
    apart = Apart(tmp_path_factory.mktemp("apart"))
    try:
        until(lambda: '"waiting"' in apart.api.log, within=RECOVERY_SECONDS)
        assert not apart.api.is_ready()
        assert problem(apart.embed("a dog")) == (503, "model_unavailable")
        apart.start_encoder()
        apart.api.wait_until_ready()
        yield apart
    finally:
        apart.stop_encoder()
        apart.api.stop()


def rows(answer: httpx.Response) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["embeddings"])


def sample() -> bytes:
    return next(SAMPLES.glob(f"images/*{CHOSEN_OBJECT}*")).read_bytes()


def test_what_is_embedded_is_what_a_model_in_the_api_makes_of_it(apart: Apart, server: Server) -> None:
    assert apart.api.workers("CrossModalSearch")
    assert apart.api.workers("Encoder") == []
    local = httpx.post(f"{server.url}/embed/texts", json={"texts": TEXTS}, timeout=60)
    here = apart.embed(*TEXTS)
    cosines = (rows(here) * rows(local)).sum(axis=1)
    assert len(cosines) == len(TEXTS)
    assert cosines.min() > 0.99999
    for member in ("tokens_used", "truncated"):
        assert here.json()[member] == local.json()[member]
    files = [("files", (f"{number}.webp", path.read_bytes())) for number, path in enumerate(pictures())]
    answers = [httpx.post(f"{each.url}/embed/images", files=files, timeout=60) for each in (apart.api, server)]
    first, second = map(rows, answers)
    assert len(first) == len(files) == 8
    assert (first * second).sum(axis=1).min() > 0.99999


async def test_many_at_once_get_each_their_own(apart: Apart) -> None:
    images = [path.read_bytes() for path in pictures()]
    texts = [f"a photo of number {number}" for number in range(64)]
    files = [[("files", (f"{place}.webp", images[(number + place) % 8])) for place in range(2)] for number in range(8)]
    async with httpx.AsyncClient(base_url=apart.api.url, timeout=60, limits=httpx.Limits(max_connections=80)) as http:
        one_by_one = [("files", ("x.webp", image)) for image in images]
        alone = rows(apart.embed(*texts)), rows(await http.post("/embed/images", files=one_by_one))
        told, shown = await asyncio.gather(
            asyncio.gather(*(http.post("/embed/texts", json={"texts": [text, text[::-1]]}) for text in texts)),
            asyncio.gather(*(http.post("/embed/images", files=each) for each in files)),
        )
    for number, answer in enumerate(told):
        assert rows(answer)[0] @ alone[0][number] > 0.9999
        assert answer.json()["truncated"] == [False, False]
    for number, answer in enumerate(shown):
        own = alone[1][[number, (number + 1) % 8]]
        assert (rows(answer) * own).sum(axis=1).min() > 0.9999


def pictures() -> list[Path]:
    return sorted(SAMPLES.glob("images/*.webp"))[:8]


def test_a_search_finds_what_was_indexed_through_it(apart: Apart) -> None:
    query = {"query": "three bananas on a blue background", "n_results": 1}
    (best,) = httpx.post(f"{apart.api.url}/search/text-to-image", json=query, timeout=60).json()["results"]
    assert best["metadata"]["object"] == CHOSEN_OBJECT
    file = {"file": ("x.webp", sample())}
    hits = httpx.post(f"{apart.api.url}/search/similar-images", files=file, timeout=60).json()["results"]
    assert hits[0]["metadata"]["object"] == CHOSEN_OBJECT


def test_the_encoder_refuses_what_is_not_of_the_form_and_goes_on(apart: Apart) -> None:
    assert apart.encoder is not None
    at = f"{apart.encoder.url}{wire.PATH}"
    assert problem_code(httpx.post(f"{at}/embed_texts", content=b"{}", timeout=10)) == (400, "malformed_body")
    assert problem_code(httpx.get(f"{at}/embed_texts", timeout=10)) == (405, "method_not_allowed")
    assert problem_code(httpx.get(f"{at}/nothing", timeout=10)) == (404, "not_found")
    assert httpx.get(f"{at}/describe", timeout=10).json()["name"] == "tiny"
    assert apart.embed("after all that").status_code == 200


@pytest.mark.parametrize(
    ("method", "asked", "said"),
    [
        ("embed_texts", {"texts": ["red"], "lane": "express"}, "lanes are interactive, bulk"),
        ("embed_pixels", {"pixels": [[[[0, 0, 0]]]]}, "the model takes uint8"),
    ],
)
def test_bentomls_own_routes_refuse_what_the_model_cannot_take(
    apart: Apart, method: str, asked: dict[str, Any], said: str
) -> None:
    assert apart.encoder is not None
    answer = httpx.post(f"{apart.encoder.url}/{method}", json=asked, timeout=10)
    assert answer.status_code == 422, answer.text
    assert said in answer.text


def problem_code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_a_killed_encoder_is_known_to_be_gone_and_met_again(apart: Apart) -> None:
    assert apart.encoder is not None
    before = rows(apart.embed("a dog"))
    apart.encoder.kill()
    began = time.monotonic()
    assert problem(apart.embed("nobody asked for this before")) == (503, "model_unavailable")
    assert time.monotonic() - began < 5
    until(lambda: not apart.api.is_ready(), within=5)
    assert httpx.get(f"{apart.api.url}/livez").status_code == 200
    apart.start_encoder()
    until(apart.api.is_ready, within=RECOVERY_SECONDS)
    assert apart.embed("nor for this").status_code == 200
    np.testing.assert_allclose(rows(apart.embed("a dog")), before, atol=1e-6)


def test_a_stopped_encoder_is_noticed_and_goes_on_when_it_may(apart: Apart) -> None:
    assert apart.encoder is not None
    with stopped(apart.encoder):
        began = time.monotonic()
        assert problem(apart.embed("is anybody there")) == (503, "model_unavailable")
        assert time.monotonic() - began < 15
        assert not apart.api.is_ready()
    until(apart.api.is_ready, within=15)
    assert apart.embed("there you are").status_code == 200


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    parent = psutil.Process(server.process.pid)
    family = [parent, *parent.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(family):
            process.resume()


def test_an_encoder_of_another_model_is_not_asked(apart: Apart, tmp_path: Path) -> None:
    model = shutil.copytree(ROOT / "models" / "tiny", tmp_path / "model")
    weights = model / "open_clip_model.safetensors"
    tensors = load_file(weights)
    save_file(tensors | {"text_projection": -tensors["text_projection"]}, weights)
    apart.stop_encoder()
    apart.start_encoder(f"local-dir:{model}")
    until(lambda: '"another model"' in apart.api.log, within=RECOVERY_SECONDS)
    answer = apart.embed("which one are you")
    assert problem(answer) == (503, "model_unavailable")
    assert "another model" in answer.json()["detail"]
    assert not apart.api.is_ready()
    apart.stop_encoder()
    apart.start_encoder()
    until(apart.api.is_ready, within=RECOVERY_SECONDS)
    assert apart.embed("welcome back").status_code == 200


def test_both_end_with_status_0(apart: Apart) -> None:
    assert apart.encoder is not None
    for each in (apart.encoder, apart.api):
        each.stop()
        assert each.process.returncode == 0
    assert "Traceback" not in apart.api.log
