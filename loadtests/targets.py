"""What load may be sent to: a service of this machine, by its loopback address, or one that is started for the run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.inputs import captions, photographs
from loadtests.traffic import Kind, Traffic
from tools.servers import Server

PREPARED_IMAGES = 32
PREPARED_TEXTS = 200
WARM_UP = 5
"""Requests of each kind before anything is counted: the first of a process pay for imports and for pages of memory."""
_SECONDS = 60


def local_target(url: str) -> str:
    """The URL without what is behind its port. Raises ``ValueError`` unless it is http://127.0.0.1:PORT."""
    parts = urlsplit(url)
    plain = not (parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment)
    if parts.scheme != "http" or parts.hostname != "127.0.0.1" or not parts.port or not plain:
        raise ValueError(f"load goes to http://127.0.0.1:PORT alone, to a service of this machine, not to {url!r}")
    return f"http://127.0.0.1:{parts.port}"


@contextmanager
def target(url: str | None) -> Iterator[str]:
    """A prepared service: at ``url``, or one of its own with the bundled model, which is ended afterwards.

    The one of its own remembers no embeddings, since the same pictures and texts are asked again and again.
    """
    if url is not None:
        prepare(local_target(url))
        yield local_target(url)
        return
    with tempfile.TemporaryDirectory(prefix="loadtests-") as folder:
        server = Server(Path(folder), CACHE_BYTES="0")
        try:
            server.wait_until_ready()
            prepare(server.url)
            yield server.url
        finally:
            server.stop()


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
