"""Kill everything at random moments while clients index, start again, and look for what was acknowledged.

`python -m tests.faults.durability --kills 50` prints how many items were acknowledged and how many of them are missing.

Most kills hit a light server: the real API, use cases, embedded store and media in one process behind uvicorn, with a
model that understands colours in place of CLIP, which has no part in keeping things and takes seconds to load. The others
hit `bentoml serve` with all of its processes, on a folder of its own.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn

from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits, create_app
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.settings import Settings
from crossmodal.wiring import build_container
from tests.fakes import ColourModel
from tests.pictures import encoded, solid
from tools.servers import ROOT, Server, free_port

CLIENTS = 4
_FIRST_SECONDS = 20.0
"""The longest wait for a first acknowledgement in a round."""
FULL_SHARE = 16
"""One kill of so many hits the whole of `bentoml serve`."""


class LightServer:
    """The real service less BentoML and CLIP, in one process."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--serve", str(folder), str(self.port)],
            cwd=ROOT,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/stats", timeout=5).status_code == httpx.codes.OK:
                    return
            time.sleep(0.05)
        raise RuntimeError("the light server did not start")


def serve(folder: Path, port: int) -> None:
    """Be a light server."""
    settings = Settings(data=folder, model="tiny")
    app = create_app()
    container = build_container(settings, LocalEncoder(ColourModel(), BatchLimits()))

    async def lifespan_startup() -> None:
        await container.open()
        app.state.container = container

    app.router.on_startup.append(lifespan_startup)
    edge = EdgeMiddleware(app, traffic=Traffic(TrafficLimits()))
    uvicorn.run(edge, host="127.0.0.1", port=port, log_level="warning")


def kill_everything(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to every process of the server at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass
class Ledger:
    """What the server said it has: id to the colour or text indexed, and what it said is deleted."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    number: int = 0

    def next(self) -> int:
        """A number never given before."""
        with self.lock:
            self.number += 1
            return self.number


def index_until_killed(url: str, ledger: Ledger, over: threading.Event) -> None:
    """Index pictures and texts, delete some, and note what was acknowledged."""
    with httpx.Client(base_url=url, timeout=30) as client, contextlib.suppress(httpx.TransportError):
        while not over.is_set():
            numbers = [ledger.next() for _ in range(8)]
            pictures = {f"p{n}": encoded(solid((n % 256, n // 256 % 256, 7)), "PNG") for n in numbers}
            files = [("files", (name, content)) for name, content in pictures.items()]
            ids = "[" + ",".join(f'"{name}"' for name in pictures) + "]"
            answer = client.post("/index/images", files=files, data={"ids": ids})
            if answer.status_code == httpx.codes.OK:
                done = {each["id"] for each in answer.json()["results"] if each["status"] == "indexed"}
                ledger.pictures.update({name: content for name, content in pictures.items() if name in done})
            items = [{"text": f"text {n}", "id": f"t{n}"} for n in numbers]
            if client.post("/index/texts", json={"items": items}).status_code == httpx.codes.OK:
                ledger.texts.update({item["id"]: item["text"] for item in items})
            gone = f"t{numbers[0]}"
            # Once asked for, a deletion may have happened whether or not its answer came.
            known = ledger.texts.pop(gone, None)
            if known is not None and client.delete(f"/items/text/{gone}").status_code == httpx.codes.NO_CONTENT:
                ledger.deleted.add(gone)


def missing(url: str, ledger: Ledger) -> list[str]:
    """Acknowledged items that are not there, or not as they were; acknowledged deletions that did not last."""
    faults: list[str] = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for name, content in ledger.pictures.items():
            if client.get(f"/images/{name}").content != content:
                faults.append(name)
            elif client.get(f"/images/{name}/thumbnail").status_code != httpx.codes.OK:
                faults.append(f"{name}/thumbnail")
        for name, text in ledger.texts.items():
            answer = client.get(f"/items/text/{name}")
            if answer.status_code != httpx.codes.OK or answer.json()["text"] != text:
                faults.append(name)
        faults += [
            f"{name} is back"
            for name in ledger.deleted
            if client.get(f"/items/text/{name}").status_code != httpx.codes.NOT_FOUND
        ]
    return faults


def light(folder: Path) -> LightServer:
    """A light server on ``folder``."""
    return LightServer(folder)


def full(folder: Path) -> Server:
    """All of `bentoml serve` on ``folder``."""
    return Server(folder / "server", STORE=f"edge:{folder / 'store'}", MEDIA=str(folder / "media"))


def run(
    kills: int,
    folder: Path,
    *,
    start: Callable[[Path], LightServer | Server] = light,
    seed: int = 0,
    spoil: Callable[[Path], None] | None = None,
) -> tuple[Ledger, list[str]]:
    """So many rounds of index, kill, start again; returns what was acknowledged and what of it is missing.

    ``spoil`` may damage the stopped server's data before the last look: what shows that a loss would be seen.
    """
    chance = random.Random(seed)
    ledger = Ledger()
    for _ in range(kills):
        over = threading.Event()
        known = len(ledger.pictures) + len(ledger.texts)
        with running(start, folder) as server:
            clients = [
                threading.Thread(target=index_until_killed, args=(server.url, ledger, over)) for _ in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            # On a busy machine nothing may have been acknowledged by then, and a kill would prove nothing.
            until = time.monotonic() + _FIRST_SECONDS
            while len(ledger.pictures) + len(ledger.texts) == known and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(chance.uniform(0.05, 0.8))
        over.set()
        for client in clients:
            client.join()
    if spoil is not None:
        spoil(folder)
    with running(start, folder) as last:
        return ledger, missing(last.url, ledger)


@contextlib.contextmanager
def running(start: Callable[[Path], LightServer | Server], folder: Path) -> Iterator[LightServer | Server]:
    """A ready server; at the end of the block all of its processes are killed."""
    server = start(folder)
    try:
        server.wait_until_ready()
        yield server
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended by itself with {server.process.returncode}")
    finally:
        kill_everything(server.process)


def run_both(kills: int, folder: Path, *, seed: int = 0) -> tuple[list[Ledger], list[str]]:
    """``kills`` in all, some of them of all that `bentoml serve` starts."""
    many = kills // FULL_SHARE
    ledger, faults = run(kills - many, folder / "light", seed=seed)
    other, others = run(many, folder / "full", start=full, seed=seed)
    return [ledger, other], faults + others


def summary(ledgers: Sequence[Ledger]) -> str:
    """How much was acknowledged, in words."""
    pictures, texts, deleted = (
        sum(len(getattr(ledger, name)) for ledger in ledgers) for name in ("pictures", "texts", "deleted")
    )
    return f"{pictures} pictures, {texts} texts, {deleted} deletions"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", nargs=2, metavar=("FOLDER", "PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(Path(arguments.serve[0]), int(arguments.serve[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        ledgers, faults = run_both(arguments.kills, Path(folder), seed=arguments.seed)
    print(  # noqa: T201 -- the command's answer
        f"{arguments.kills} kills; acknowledged: {summary(ledgers)}; missing: {len(faults)} {faults[:10]}"
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
