"""Real servers for tests and benchmarks: `bentoml serve` in processes of their own, on free ports, with folders of their own."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
ENTRY = "service:CrossModalSearch"
START_SECONDS = 120
INDEXER_SECONDS = 300
PORTS = (15_000, 32_000)
STOP_SECONDS = 30


def free_port() -> int:
    """Return a TCP port nobody listens on at the moment, below those that the system gives to clients' connections."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a server or an indexer that keeps to ``folder``; ``settings`` without their prefix."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CROSSMODAL_", "BENTOML_"))}
    own = {"DATA": str(folder / "data"), "MODEL": "tiny", "DRAIN": "0"} | settings
    bentoml = {"OMP_WAIT_POLICY": "passive", "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    return kept | bentoml | {f"CROSSMODAL_{name}": value for name, value in own.items()}


def run_indexer(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m indexer` with the environment of a server in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "indexer", *arguments],
        cwd=ROOT,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=INDEXER_SECONDS,
        check=False,
    )


def end_as_if_interrupted() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that the servers it started are stopped: they are sessions of their own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class Server:
    """A running service; ``url`` is where it listens, ``log`` what it printed."""

    def __init__(
        self,
        folder: Path,
        target: str = ENTRY,
        variables: Mapping[str, str] | None = None,
        /,
        **settings: str,
    ) -> None:
        """Start it; ``settings`` without their prefix, further environment ``variables`` as they are."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bentoml").mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_path = folder / "server.log"
        with self._log_path.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(target),
                cwd=ROOT,
                env=environment(folder, **settings) | dict(variables or {}),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, target: str) -> list[str]:
        """What serves ``target`` on ``self.port``."""
        bentoml = str(Path(sys.executable).with_name("bentoml"))
        return [bentoml, "serve", target, "--host", "127.0.0.1", "--port", str(self.port)]

    @property
    def log(self) -> str:
        """What the server printed so far."""
        return self._log_path.read_text(errors="replace")

    def workers(self, service: str) -> list[int]:
        """Process ids of the workers of ``service`` that live now."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        return [child.pid for child in children if _serves(child, service)]

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=6).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def wait_until_ready(self) -> None:
        """Return when `/readyz` answers 200; raises ``RuntimeError`` with the log if it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log[-3000:]}")
            if self.is_ready():
                return
            time.sleep(0.2)
        raise RuntimeError(f"the server was not ready after {START_SECONDS} s:\n{self.log[-3000:]}")

    def stop(self) -> None:
        """End the server's process group: SIGTERM, and SIGKILL if that takes too long."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def _serves(process: psutil.Process, service: str) -> bool:
    try:
        words = process.cmdline()
        return process.status() != psutil.STATUS_ZOMBIE and "--service-name" in words and service in words
    except psutil.Error:
        return False
