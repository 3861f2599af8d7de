"""What a running service does with its memory."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.pictures import encoded, photograph
from tests.unit.clip.model_folders import PREPROCESSING, with_vision, write_folder
from tools.servers import Server

pytestmark = pytest.mark.e2e

SIDE = 224


def worker_of(server: Server) -> psutil.Process:
    """The process that serves, and holds the model."""
    (worker,) = (
        child for child in psutil.Process(server.process.pid).children() if "--service-name" in child.cmdline()
    )
    return worker


def pages_taken(server: Server) -> int:
    """Pages that the kernel had to find for it so far."""
    stat = Path(f"/proc/{worker_of(server).pid}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(")")[2].split()[7])


def test_batches_in_pytorch_use_the_memory_of_those_before(tmp_path: Path) -> None:
    # Mapping the tensors of each batch anew took half as much processor time as a ViT-B-32 itself: 8,000 pages a request here.
    model = write_folder(
        tmp_path / "model",
        model_cfg=with_vision(image_size=SIDE, patch_size=32),
        preprocess_cfg={**PREPROCESSING, "size": SIDE},
    )
    server = Server(
        tmp_path, MODEL=f"local-dir:{model}", RUNTIME="torch", DEVICE="cpu", STORE="memory:", CACHE_BYTES="0"
    )
    files = [("files", ("x", encoded(photograph(), "JPEG")))] * 16  # pixels of 2.4 MB, 9.6 MB in fp32
    try:
        server.wait_until_ready()
        for _ in range(5):
            httpx.post(f"{server.url}/embed/images", files=files, timeout=60).raise_for_status()
        before = pages_taken(server)
        for _ in range(10):
            httpx.post(f"{server.url}/embed/images", files=files, timeout=60).raise_for_status()
        assert (pages_taken(server) - before) / 10 < 500
    finally:
        server.stop()


def test_large_uploads_leave_no_free_memory_behind(tmp_path: Path) -> None:
    server = Server(tmp_path, STORE="memory:", RUNTIME="openvino", DEVICE="cpu", CACHE_BYTES="0")
    sizes = [size * 1_000_000 for size in (17, 12, 9, 6, 3, 2)] * 12

    def upload(size: int) -> int:
        large = encoded(photograph(), "JPEG")[:1000] + bytes(size)  # a picture for any decoder, and quick to make
        return httpx.post(f"{server.url}/embed/images", files={"files": ("x", large)}, timeout=60).status_code

    try:
        server.wait_until_ready()
        api = worker_of(server)
        with ThreadPoolExecutor(12) as threads:
            assert set(threads.map(upload, [500_000] * 96)) == {200}  # calls met: the model is there a second time
            before = api.memory_full_info().uss
            assert set(threads.map(upload, sizes)) == {200}
        assert api.memory_full_info().uss - before < 40_000_000  # 6 MB; 90 to 110 where glibc moves its own limits
    finally:
        server.stop()
