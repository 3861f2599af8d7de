"""The model's process killed, stopped or starved: answers within the deadline, not ready, and back without a hand."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import load, save

from tests.faults.checks import TEXTS, at_once, embed, outcome_of, problem, until
from tests.faults.conftest import Start
from tools.servers import ROOT, Server

IN_FLIGHT = 200
CONTAINER = {"BENTOML_CONTAINERIZED": "true"}
RECOVERY_SECONDS = 90
TERMINAL = {"200", "429 overloaded", "503 model_unavailable"}


def many_texts(server: Server, number: int) -> httpx.Response:
    return embed(server, [f"{number} cats and {each} dogs to the left of a bicycle" for each in range(80)])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def starved(pid: int) -> Iterator[None]:
    """Let the process run for a fiftieth of the time."""
    over = threading.Event()

    def pace() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.49)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)

    thread = threading.Thread(target=pace)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("variables", [{}, CONTAINER], ids=["process", "container"])
def test_a_killed_encoder_answers_all_and_comes_back(start: Start, variables: dict[str, str]) -> None:
    server = start(ENCODER="service", variables=variables)
    (encoder,) = server.workers("Encoder")
    (api,) = server.workers("CrossModalSearch")
    outcomes = at_once(IN_FLIGHT, lambda number: many_texts(server, number), lambda: os.kill(encoder, signal.SIGKILL))
    assert outcomes.total() == IN_FLIGHT
    assert set(outcomes) <= TERMINAL
    assert outcomes["503 model_unavailable"] > 0
    until(lambda: not server.is_ready(), within=15)
    assert httpx.get(f"{server.url}/livez").status_code == 200
    until(server.is_ready, within=RECOVERY_SECONDS)
    assert embed(server).status_code == 200
    assert server.workers("CrossModalSearch") == [api]
    assert server.workers("Encoder") != [encoder]


def test_a_stopped_encoder_is_noticed_and_goes_on_when_it_may(start: Start) -> None:
    server = start(ENCODER="service")
    (encoder,) = server.workers("Encoder")
    with stopped(encoder):
        began = time.monotonic()
        assert problem(embed(server)) == (503, "model_unavailable")
        assert time.monotonic() - began < 15
        assert not server.is_ready()
        began = time.monotonic()
        assert problem(embed(server)) == (503, "model_unavailable")
        assert time.monotonic() - began < 2, "known to be gone, it must not be waited for again"
    until(server.is_ready, within=15)
    assert embed(server).status_code == 200


def test_an_encoder_that_comes_back_with_another_model_is_not_asked(start: Start, tmp_path: Path) -> None:
    model = shutil.copytree(ROOT / "models" / "tiny", tmp_path / "model")
    weights = model / "open_clip_model.safetensors"
    first = weights.read_bytes()
    server = start(ENCODER="service", MODEL=f"local-dir:{model}")
    before = embed(server).json()

    def come_back_with(content: bytes) -> None:
        weights.write_bytes(content)
        (encoder,) = server.workers("Encoder")
        os.kill(encoder, signal.SIGKILL)
        until(lambda: server.workers("Encoder") not in ([], [encoder]), within=RECOVERY_SECONDS)

    tensors = load(first)
    come_back_with(save(tensors | {"text_projection": -tensors["text_projection"]}))
    until(lambda: '"another model"' in server.log, within=RECOVERY_SECONDS)
    for texts in (TEXTS, ["nobody asked for this before"]):
        answer = embed(server, texts)
        assert problem(answer) == (503, "model_unavailable")
        assert "another model" in answer.json()["detail"]
    assert not server.is_ready()
    come_back_with(first)
    until(server.is_ready, within=RECOVERY_SECONDS)
    assert embed(server).json() == before


@pytest.mark.parametrize("way", ["local", "service"])
def test_a_starved_model_is_answered_for_within_the_deadline(start: Start, way: str) -> None:
    server = start(ENCODER=way, TIMEOUT="5")
    (model,) = server.workers("Encoder" if way == "service" else "CrossModalSearch")
    slow = [f"{number} cats and dogs on a red background" for number in range(1000)]
    with starved(model):
        began = time.monotonic()
        outcome = outcome_of(lambda: embed(server, slow, timeout=60))
        taken = time.monotonic() - began
    assert outcome in {"504 deadline_exceeded", "503 model_unavailable"}
    # The starved process is the one that keeps the time where the model is local.
    assert taken < (12 if way == "service" else 60)
    until(server.is_ready, within=30)
    assert embed(server).status_code == 200


@pytest.mark.parametrize("variables", [{}, CONTAINER], ids=["process", "container"])
def test_a_killed_api_comes_back_with_its_model(start: Start, variables: dict[str, str]) -> None:
    server = start(variables=variables)
    (worker,) = server.workers("CrossModalSearch")
    outcomes = at_once(20, lambda number: many_texts(server, number), lambda: os.kill(worker, signal.SIGKILL))
    assert outcomes.total() == 20  # answered, or the connection ended: nobody hangs
    until(lambda: server.workers("CrossModalSearch") not in ([], [worker]), within=30)
    until(server.is_ready, within=RECOVERY_SECONDS)
    assert embed(server).status_code == 200
