"""What load may be sent to: a service of this machine, by its loopback address, or one that is started for the run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.inputs import captions, photographs
from loadtests.traffic import Kind, Traffic
from tools.servers import ENTRY, Server

PREPARED_IMAGES = 32
PREPARED_TEXTS = 200
WARM_UP = 5
"""Requests of each kind before anything is counted: the first of a process pay for imports and for pages of memory."""
_SECONDS = 60
LEAKY, LEAK_BYTES = "loadtests.leaky:CrossModalSearch", "LOADTESTS_LEAK_BYTES"
"""The service with a planted leak, and the variable that says how large."""


def local_target(url: str) -> str:
    """The URL without what is behind its port. Raises ``ValueError`` unless it is http://127.0.0.1:PORT."""
    parts = urlsplit(url)
    plain = not (parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment)
    if parts.scheme != "http" or parts.hostname != "127.0.0.1" or not parts.port or not plain:
        raise ValueError(f"load goes to http://127.0.0.1:PORT alone, to a service of this machine, not to {url!r}")
    return f"http://127.0.0.1:{parts.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where load goes: ``url``, served by process ``pid`` and those below it; None where that cannot be told."""

    url: str
    pid: int | None


@contextmanager
def target(url: str | None, *, leak: int = 0) -> Iterator[Target]:
    """A prepared service: at ``url``, or one of its own with the bundled model, which is ended afterwards.

    The one of its own remembers no embeddings, since the same pictures and texts are asked again and again. With ``leak``
    it keeps so many bytes of each request: a fault that is planted, for a measurement to find.
    """
    if url is not None:
        prepare(local_target(url))
        yield Target(local_target(url), listening_at(urlsplit(url).port or 0))
        return
    entry, variables = (LEAKY, {LEAK_BYTES: str(leak)}) if leak else (ENTRY, {})
    with tempfile.TemporaryDirectory(prefix="loadtests-") as folder:
        server = Server(Path(folder), entry, variables, CACHE_BYTES="0")
        try:
            server.wait_until_ready()
            prepare(server.url)
            yield Target(server.url, server.process.pid)
        finally:
            server.stop()


def listening_at(port: int) -> int | None:
    """The process that listens at ``port``, the oldest of its family: `bentoml serve` shares the port with its workers."""
    owners = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid is not None
    }
    for pid in sorted(owners):
        with suppress(psutil.Error):
            if not owners & {parent.pid for parent in psutil.Process(pid).parents()}:
                return int(pid)
    return None


def prepare(url: str) -> None:
    """Index something to find, and ask a little of each kind. Raises ``httpx.HTTPError`` if that does not work."""
    texts = [{"text": text, "id": f"loadtest-{number}"} for number, text in enumerate(captions(PREPARED_TEXTS))]
    files = [("files", ("x", content)) for content in photographs(PREPARED_IMAGES)]
    ids = "[" + ",".join(f'"loadtest-{number}"' for number in range(PREPARED_IMAGES)) + "]"
    traffic = Traffic(seed=0)
    with httpx.Client(base_url=url, timeout=_SECONDS) as client:
        client.post("/index/texts", json={"items": texts}).raise_for_status()
        client.post("/index/images", files=files, data={"ids": ids}).raise_for_status()
        for kind in Kind:
            for _ in range(WARM_UP):
                asked = traffic.of(kind)
                headers = {"Content-Type": asked.content_type}
                client.request(asked.method, asked.path, content=asked.body, headers=headers)
