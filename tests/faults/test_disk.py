"""A disk that fills up: no write is acknowledged, nothing that was is lost, nothing crashes, and it goes on with room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.checks import embed, problem, search
from tests.faults.conftest import Start
from tests.pictures import encoded, photograph
from tools.servers import Server

SMALL = 192
RESERVE = str(64 * 2**20)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of some MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}m", "tmpfs", str(folder)], check=False)
    if made.returncode:
        pytest.skip("mounting a small disk needs rights that are not given here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """A file that leaves ``leave`` bytes free."""
    ballast = disk / "ballast"
    found = os.statvfs(disk)
    with ballast.open("wb") as file:
        file.write(bytes(max(0, found.f_bavail * found.f_frsize - leave)))
    return ballast


def index_text(server: Server, name: str) -> httpx.Response:
    return httpx.post(f"{server.url}/index/texts", json={"items": [{"text": name, "id": name}]}, timeout=60)


def index_picture(server: Server, name: str) -> httpx.Response:
    content = encoded(photograph(seed=len(name)), "JPEG")
    fields = {"ids": f'["{name}"]'}
    return httpx.post(f"{server.url}/index/images", files={"files": content}, data=fields, timeout=60)


def has(server: Server, modality: str, name: str) -> bool:
    return httpx.get(f"{server.url}/items/{modality}/{name}", timeout=60).status_code == 200


@pytest.mark.parametrize("leave", [48 * 2**20, 0], ids=["nearly full", "full"])
def test_the_disk_of_the_store(start: Start, disk: Path, leave: int) -> None:
    server = start(STORE=f"edge:{disk / 'store'}", MIN_FREE_BYTES=RESERVE)
    (worker,) = server.workers("CrossModalSearch")
    assert index_text(server, "before").json()["indexed"] == 1
    ballast = fill(disk, leave=leave)
    for number in range(20):
        assert problem(index_text(server, f"full-{number}")) == (503, "store_unavailable")
        assert problem(index_picture(server, f"full-{number}")) == (503, "store_unavailable")
    assert search(server).status_code == 200
    assert embed(server).status_code == 200
    assert has(server, "text", "before")
    assert not has(server, "text", "full-0")
    ballast.unlink()
    assert index_text(server, "after").json()["indexed"] == 1
    assert server.workers("CrossModalSearch") == [worker], "it must not have crashed on the way"


def test_the_disk_of_the_pictures(start: Start, disk: Path) -> None:
    server = start(MEDIA=str(disk / "media"), MIN_FREE_BYTES="0")
    assert index_picture(server, "before").json()["indexed"] == 1
    ballast = fill(disk, leave=0)
    assert problem(index_picture(server, "full")) == (503, "store_unavailable")
    assert not has(server, "image", "full")
    assert index_text(server, "a text needs no room there").json()["indexed"] == 1
    ballast.unlink()
    assert httpx.get(f"{server.url}/images/before").status_code == 200
    assert index_picture(server, "after").json()["indexed"] == 1
    assert list((disk / "media" / ".incoming").iterdir()) == []
