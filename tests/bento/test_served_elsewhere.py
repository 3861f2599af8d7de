"""Bentos served as an operator would: carried elsewhere, with packages installed anew from what is locked in them.

Minutes, most of it copying packages out of uv's cache; without the cache, downloading 2 GB.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.inputs import random_model
from tests.bento.building import build_bento, uv
from tests.bento.using import use
from tools.servers import ROOT, Server

pytestmark = pytest.mark.slow

INSTALL_SECONDS = 900
STOP_SECONDS = 60


class Elsewhere(Server):
    """`bentoml serve` on a bento's folder, by an environment that has nothing but the bento's packages."""

    def __init__(self, bento: Path, venv: Path, folder: Path, **settings: str) -> None:
        self._venv = venv
        self._unset = [] if "MODEL" in settings else ["--unset=CROSSMODAL_MODEL"]  # the bento's own default
        variables = {"HOME": str(folder), "PATH": os.defpath, "PYTHONSAFEPATH": "1"}
        super().__init__(folder, str(bento), variables, **settings)

    def command(self, target: str) -> list[str]:
        """What serves ``target``, with no repository for a working folder."""
        served = [str(self._venv / "bin" / "bentoml"), "serve", target, "--host", "127.0.0.1", "--port", str(self.port)]
        return ["/usr/bin/env", f"--chdir={self.folder}", *self._unset, *served]

    def opened(self) -> set[str]:
        """Files that the process of the API has mapped, and its working folder."""
        (worker,) = self.workers("CrossModalSearch")
        process = psutil.Process(worker)
        return {region.path for region in process.memory_maps()} | {process.cwd()}


def install(bento: Path, venv: Path) -> None:
    """What the Dockerfile does, with the cache that uv has."""
    run = [uv(), "venv", "--quiet", "--python", sys.base_prefix + "/bin/python3", str(venv)]
    subprocess.run(run, check=True, timeout=60)
    locked = bento / "src" / "requirements" / "runtime.txt"
    options = ["--quiet", "--python", str(venv / "bin" / "python"), "--require-hashes", "--no-build"]
    done = subprocess.run(
        [uv(), "pip", "install", *options, "--requirement", str(locked)],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def has(venv: Path, package: str) -> bool:
    asked = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([venv / "bin" / "python", "-c", asked], check=False, timeout=60).returncode == 0


def carried(bento: Path, folder: Path) -> Path:
    """The bento in another place, the one where it was built gone."""
    moved = shutil.move(bento, folder / "carried")
    shutil.rmtree(bento.parents[2])
    return Path(moved)


def serve(bento: Path, venv: Path, folder: Path, settings: Mapping[str, str]) -> tuple[dict[str, Any], set[str]]:
    """Serve and use it, end it by SIGTERM; what it said of itself, and what it had open."""
    server = Elsewhere(bento, venv, folder, **settings)
    try:
        server.wait_until_ready()
        stats, opened = use(server), server.opened()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_SECONDS) == 0
    finally:
        server.stop()
    return stats, opened


def test_a_bento_serves_elsewhere_from_what_is_locked_in_it(tmp_path: Path) -> None:
    bento = carried(build_bento(tmp_path / "home"), tmp_path)
    install(bento, tmp_path / "venv")
    stats, opened = serve(bento, tmp_path / "venv", tmp_path / "run", {"MODEL": "tiny"})
    assert stats["model"] == "tiny"
    assert any(str(tmp_path / "venv") in path for path in opened)
    assert not [path for path in opened if path.startswith((str(ROOT) + "/", sys.prefix + "/"))]


def test_a_slim_bento_serves_what_was_baked_in_without_pytorch(tmp_path: Path) -> None:
    bento = carried(build_bento(tmp_path / "home", "--slim", "--model", "tiny"), tmp_path)
    assert not (bento / "src" / "models" / "tiny").exists()
    install(bento, tmp_path / "venv")
    assert has(tmp_path / "venv", "openvino")
    assert not has(tmp_path / "venv", "torch")
    assert not has(tmp_path / "venv", "open_clip")
    stats, opened = serve(bento, tmp_path / "venv", tmp_path / "run", {})
    assert stats["model"] == "tiny"
    assert any("libopenvino" in path for path in opened)

    damaged = bento / "src" / "models" / "baked" / "openvino_text.bin"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    server = Elsewhere(bento, tmp_path / "venv", tmp_path / "again")
    try:
        assert server.process.wait(STOP_SECONDS) == 78
    finally:
        server.stop()
    assert "openvino_text.bin is damaged or of another; bake it anew" in server.log


def test_real_weights_are_baked_in_and_served_by_default(tmp_path: Path) -> None:
    spec = random_model(tmp_path / "source" / "vit", "ViT-B-32")
    bento = carried(build_bento(tmp_path / "home", "--model", spec, "--version", "1.2.3"), tmp_path)
    shutil.rmtree(tmp_path / "source")
    stats, opened = serve(bento, Path(sys.prefix), tmp_path / "run", {})
    assert (stats["model"], stats["embedding_dim"]) == ("local-dir:vit", 512)
    assert not [path for path in opened if path.startswith(str(ROOT) + "/crossmodal")]
