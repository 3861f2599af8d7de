"""The image on a read-only file system, as a user who is not root and has no capabilities: what deploy/ promises of pods."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.bento.building import Instruction, build_bento
from tests.bento.container import Container
from tests.bento.using import use
from tests.kustomize import build
from tools.servers import ROOT

STOP_SECONDS = 60
VENV = Path(sys.executable).parents[1]


@pytest.fixture(scope="module", autouse=True)
def _closed_off() -> None:
    """Skip, visibly, where no container can be made; CI has to be able to."""
    tried = ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true"]
    able = shutil.which("bwrap") is not None and subprocess.run(tried, check=False).returncode == 0
    if not able and os.environ.get("CI") != "true":
        pytest.skip("bubblewrap is missing, or may not make namespaces here")
    assert able, "bubblewrap is missing, or may not make namespaces here"


def pod(part: str = "crossmodal-api") -> tuple[tuple[str, ...], list[str]]:
    """The arguments, on loopback and less the port, which the environment says here, and the writable folders of a part's pod."""
    documents = build(ROOT / "deploy" / "kubernetes" / "overlays" / "cpu-split")
    (deployment,) = [each for each in documents if (each["kind"], each["metadata"]["name"]) == ("Deployment", part)]
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    empty = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    *arguments, option, port = container["args"]
    assert (option, port) == ("--port", "3000")
    arguments = ["127.0.0.1" if each == "0.0.0.0" else each for each in arguments]
    return tuple(arguments), [each["mountPath"] for each in container["volumeMounts"] if each["name"] in empty]


def test_it_serves_with_nothing_writable_but_what_a_pod_mounts(
    bento: Path, dockerfile: list[Instruction], tmp_path: Path
) -> None:
    _, volumes = pod()
    assert sorted(volumes) == ["/dev/shm", "/tmp", "/var/lib/bentoml", "/var/lib/crossmodal"]  # noqa: S108 -- paths in it
    container = Container(bento, tmp_path, VENV, volumes=volumes, MODEL="tiny", DRAIN="0")
    try:
        container.wait_until_ready()
        stats = use(container)
        status = Path("/proc", str(container.inside.pid), "status").read_text(encoding="utf-8")
        health = healthy(dockerfile, container.port)
        container.inside.send_signal(signal.SIGTERM)
        ended = container.process.wait(STOP_SECONDS)
    finally:
        container.stop()
    assert stats["model"] == "tiny"
    assert health
    assert ended == 0
    if os.getuid() == 0:
        assert "Uid:\t1034\t1034\t1034\t1034" in status
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Read-only file system" not in container.log
    assert "Permission denied" not in container.log
    assert not healthy(dockerfile, container.port)


def healthy(dockerfile: list[Instruction], port: int) -> bool:
    """What the image's HEALTHCHECK says."""
    (words,) = (each.words for each in dockerfile if each.name == "HEALTHCHECK")
    _, *arguments = json.loads(words.partition(" CMD ")[2])
    asked = subprocess.run(
        [sys.executable, *arguments], env={"PORT": str(port)}, capture_output=True, timeout=30, check=False
    )
    return asked.returncode == 0


@pytest.mark.slow
def test_a_pods_arguments_serve_what_was_baked_in(tmp_path: Path) -> None:
    bento = build_bento(tmp_path / "home", "--model", "tiny", "--form", "both")
    arguments, volumes = pod()
    container = Container(bento, tmp_path, VENV, volumes=volumes, arguments=arguments, DEVICE="cpu", DRAIN="0")
    try:
        container.wait_until_ready()
        stats = use(container)
        written = {path.name for path in (tmp_path / "volumes" / "var-lib-crossmodal").iterdir()}
    finally:
        container.stop()
    assert stats["model"] == "tiny"
    assert {"compiled", "media", "store"} <= written  # what OpenVINO compiled, too
    assert "Read-only file system" not in container.log


@pytest.mark.slow
def test_without_a_place_to_write_it_says_so(bento: Path, tmp_path: Path) -> None:
    volumes = [each for each in pod()[1] if each != "/var/lib/crossmodal"]
    container = Container(bento, tmp_path, VENV, volumes=volumes, MODEL="tiny", DRAIN="0")
    try:
        assert container.process.wait(STOP_SECONDS) == 78
    finally:
        container.stop()
    assert "cannot start" in container.log


@pytest.mark.slow
def test_the_encoders_pod_serves_too(bento: Path, tmp_path: Path) -> None:
    arguments, volumes = pod("crossmodal-encoder")
    container = Container(bento, tmp_path, VENV, volumes=volumes, arguments=arguments, MODEL="tiny")
    try:
        container.wait_until_ready()
        described = httpx.get(f"{container.url}/v1/encoder/describe", timeout=30)
        container.inside.send_signal(signal.SIGTERM)
        assert container.process.wait(STOP_SECONDS) == 0
    finally:
        container.stop()
    assert described.json()["name"] == "tiny"
    assert "Read-only file system" not in container.log
