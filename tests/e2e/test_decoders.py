"""The decoding processes of a running server: there while it serves, gone with it however it ends."""

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.pictures import encoded, many_scans, photograph
from tools.servers import Server

pytestmark = pytest.mark.e2e


def decoders(server: Server) -> dict[int, int]:
    """Decoding processes below a server, each with its parent."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {}
    for pid, parent in parents.items():
        above = parent
        while above and above != server.process.pid:
            above = parents.get(above, 0)
        if above and b"crossmodal.imaging.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found[pid] = parent
    return found


def all_gone(pids: list[int]) -> bool:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_decoders_end_with_their_server(tmp_path: Path) -> None:
    server = Server(tmp_path, STORE="memory:", DECODE_WORKERS="3", DECODE_TIMEOUT="0.5")
    try:
        server.wait_until_ready()
        first = decoders(server)
        assert len(first) == 3
        good = encoded(photograph(), "JPEG")
        answer = httpx.post(f"{server.url}/embed/images", files={"files": ("x", many_scans(90))}, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (422, "image_undecodable")
        assert "takes too long to decode: over 0.5 s" in answer.json()["detail"]
        assert httpx.post(f"{server.url}/embed/images", files={"files": ("x", good)}, timeout=60).status_code == 200
        assert 'crossmodal_lost_decoders_total{reason="deadline"} 1.0' in httpx.get(f"{server.url}/metrics").text
        assert "libtorch" not in Path(f"/proc/{next(iter(decoders(server)))}/maps").read_text(encoding="utf-8")

        before = list(decoders(server))
        (api,) = set(decoders(server).values())
        os.kill(api, signal.SIGKILL)
        assert all_gone(before)

        server.wait_until_ready()
        assert httpx.post(f"{server.url}/embed/images", files={"files": ("x", good)}, timeout=60).status_code == 200
        after = list(decoders(server))
        assert len(after) == 3
        os.kill(server.process.pid, signal.SIGTERM)
        server.process.wait(30)
        assert all_gone(after)
        assert "Traceback" not in server.log
    finally:
        server.stop()
