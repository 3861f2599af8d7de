"""schemathesis asks the running service what `/docs.json` says it takes, and checks that it answers what is said there.

All its checks run but those that `tests/schema/schemathesis.toml` switches off, each with its reason; the seed is fixed
and the examples are few, so that a run takes about half a minute.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest

from tests.corpus.running import Examiner
from tests.policies import POLICIES
from tools.servers import ROOT, Server

pytestmark = pytest.mark.e2e

EXAMPLES = "15"
SECONDS = 400


def schemathesis(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it over the document at ``url``; it keeps what it writes in ``folder``."""
    config = str(ROOT / "tests/schema/schemathesis.toml")
    command = [str(Path(sys.executable).with_name("st")), "--config-file", config, "run"]
    options = ["--seed", "1", "--max-examples", EXAMPLES, "--generation-database", "none", "--no-shrink"]
    return subprocess.run(
        [*command, f"{url}/docs.json", *options, "--request-timeout", "60", "--continue-on-failure"],
        cwd=folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.schema.hooks", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_service_keeps_what_its_document_promises(tmp_path: Path) -> None:
    server = Server(tmp_path / "server", POLICIES=str(POLICIES))
    try:
        server.wait_until_ready()
        examiner = Examiner(server)
        examiner.prepare()
        examiner.close()
        paths = httpx.get(f"{server.url}/docs.json", timeout=60).json()["paths"]
        outcome = schemathesis(server.url, tmp_path)
        assert "Traceback" not in server.log
    finally:
        server.stop()
    assert outcome.returncode == 0, outcome.stdout[-8000:] + outcome.stderr[-2000:]
    assert f"Tested: {sum(map(len, paths.values()))}\n" in outcome.stdout
    generated = re.search(r"(\d+) generated, (\d+) passed", outcome.stdout)
    assert generated is not None
    assert int(generated[1]) == int(generated[2]) > 1000


DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "planted", "version": "1"},
    "paths": {
        "/thing": {
            "get": {
                "operationId": "thing",
                "parameters": [{"name": "n", "in": "query", "required": True, "schema": {"type": "integer"}}],
                "responses": {
                    "200": {
                        "description": "a thing",
                        "headers": {"X-Request-ID": {"required": True, "schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"type": "object", "required": ["id"]}}},
                    },
                    "422": {"description": "no", "content": {"application/problem+json": {"schema": {}}}},
                },
            }
        }
    },
}


class Planted(BaseHTTPRequestHandler):
    """Answers ``plant`` to every GET of a sound number, refuses others, and 405 to other methods."""

    plant: ClassVar[tuple[int, str, object, str]]

    def do_GET(self) -> None:
        if self.path == "/docs.json":
            self._answer(200, "application/json", DOCUMENT)
        elif re.fullmatch(r"/thing\?n=-?\d+", self.path):
            self._answer(*self.plant)
        else:
            self._answer(422, "application/problem+json", {})

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return lambda: self._answer(405, "application/problem+json", {})
        raise AttributeError(name)

    def _answer(self, code: int, content_type: str, content: object, request_id: str = "x") -> None:
        raw = json.dumps(content).encode()
        self.send_response(code)
        headers = {"Content-Type": content_type, "Content-Length": str(len(raw)), "Allow": "GET"}
        for name, value in headers.items():
            self.send_header(name, value)
        if request_id:
            self.send_header("X-Request-ID", request_id)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def planted(*plant: object) -> Iterator[str]:
    """A service that answers so; yields its address."""
    handler = type("Handler", (Planted,), {"plant": plant})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize(
    ("status", "kind", "body", "request_id", "said"),
    [
        (200, "application/json", {"id": 1}, "x", ""),
        (500, "application/json", {"id": 1}, "x", "Server error"),
        (418, "application/json", {"id": 1}, "x", "Undocumented status code"),
        (200, "text/html", {"id": 1}, "x", "Undocumented Content-Type"),
        (200, "application/json", {}, "x", "Response violates schema"),
        (200, "application/json", {"id": 1}, "", "Missing required response headers"),
        (422, "application/problem+json", {}, "x", "Schema-valid request rejected"),
    ],
)
def test_a_planted_lie_is_found(
    tmp_path: Path, status: int, kind: str, body: object, request_id: str, said: str
) -> None:
    with planted(status, kind, body, request_id) as url:
        outcome = schemathesis(url, tmp_path)
    assert (outcome.returncode, said in outcome.stdout) == (1 if said else 0, True), outcome.stdout[-3000:]
