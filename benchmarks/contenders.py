"""The servers that are compared: ours in several settings, and what a user would pick instead."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.load import multipart, request_bytes
from tools.servers import ROOT, Server

KINDS = ("image", "text")


class Uvicorn(Server):
    """A FastAPI app in one process."""

    def command(self, target: str) -> list[str]:
        """See ``Server.command``."""
        return [sys.executable, "-m", "uvicorn", target, "--port", str(self.port), "--no-access-log"]


@dataclass
class Contender:
    """A running server and what its requests look like."""

    name: str
    server: Server
    pictures_field: str = "files"
    texts_path: str = "/embed/texts"
    images_path: str = "/embed/images"

    def requests(self, kind: str, pictures: list[bytes], texts: list[str]) -> list[bytes]:
        """A request for each picture, or for each text."""
        if kind == "image":
            return [
                request_bytes("POST", self.images_path, *multipart(content, self.pictures_field))
                for content in pictures
            ]
        return [request_bytes("POST", self.texts_path, json.dumps({"texts": [text]}).encode()) for text in texts]

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Go on, until the block ends."""
        os.killpg(self.server.process.pid, signal.SIGCONT)
        self.server.wait_until_ready()
        try:
            yield
        finally:
            self.pause()

    def pause(self) -> None:
        """Stop all its processes, so that they take nothing from who is measured."""
        os.killpg(self.server.process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """End it."""
        os.killpg(self.server.process.pid, signal.SIGCONT)
        self.server.stop()

    def memory(self) -> dict[str, float]:
        """MB of each role's processes: what is shared is divided among those that share it (PSS)."""
        found: dict[str, float] = defaultdict(float)
        for role, process in self._processes():
            with suppress(psutil.Error):
                found[role] += process.memory_full_info().pss / 1e6
        return dict(found)

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time that each role's processes have used so far."""
        found: dict[str, float] = defaultdict(float)
        for role, process in self._processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                found[role] += times.user + times.system
        return dict(found)

    def _processes(self) -> list[tuple[str, psutil.Process]]:
        parent = psutil.Process(self.server.process.pid)
        found = []
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                found.append((_role(process.cmdline()), process))
        return found


def ours(name: str, folder: Path, **settings: str) -> Contender:
    """Our service, without the memory of embeddings: the same inputs come again and again."""
    server = Server(folder, **{"STORE": "memory:", "CACHE_BYTES": "0", "TIMEOUT": "120"} | settings)
    return Contender(name, server)


def one_at_a_time(folder: Path, weights: Path) -> Contender:
    """FastAPI, one input after the other, fp32."""
    server = Uvicorn(folder, "benchmarks.baselines.one_at_a_time:app", {"MODEL": str(weights)})
    return Contender("FastAPI, one at a time", server)


def batchable(folder: Path, weights: Path) -> Contender:
    """BentoML's batching, PIL pictures, fp32."""
    server = Server(folder, "benchmarks.baselines.batchable:Clip", {"MODEL": str(weights)})
    return Contender("BentoML, batchable", server, "images", "/embed_texts", "/embed_images")


def machine() -> dict[str, object]:
    """What a reader must know of where the figures come from."""
    found = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 -- whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "processor": found[0] if found else "unknown",
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_average": os.getloadavg(),
        "revision": revision,
    }


def _role(words: list[str]) -> str:
    if "crossmodal.imaging.worker" in words:
        return "decoders"
    if "--service-name" in words:
        return "encoder" if "Encoder" in words else "api"
    return "server" if "uvicorn" in words else "supervisor"
