"""Memory that was freed by threads, and that of mapped files, goes back to the system."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from crossmodal.memory import release_mapped
from tools.servers import ROOT

PROBE = """
import sys, threading
from pathlib import Path
from crossmodal import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def upload(gate):
    for size in (18, 12, 3):  # the first that is freed moves glibc's own limits, if they are its own
        body = bytearray(size * 2**20)
        del body
    parts = [bytearray(700_000) for _ in range(40)]
    del parts
    gate.wait()  # stays, as threads of a pool do

if sys.argv[1] == "little":
    assert memory.keep_little()
before, gate = resident(), threading.Event()
threads = [threading.Thread(target=upload, args=(gate,)) for _ in range(12)]
for thread in threads:
    thread.start()
    thread.join(0.2)
print(resident() - before)
gate.set()
"""


def grown(how: str) -> float:
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, how], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return float(ended.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is another one")
def test_threads_that_wait_hold_no_memory_that_they_freed() -> None:
    # 12 threads, each of which may keep no more than 8 MiB, against what glibc keeps where it is not told otherwise
    assert grown("little") < 100 < grown("as it is")


def resident(path: Path) -> int:
    """Kilobytes of the file that this process has in its memory."""
    kilobytes, here = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").split("\n")[:-1]:
        if "-" in line.split()[0]:
            here = line.endswith(f" {path}")
        elif here and line.startswith("Rss:"):
            kilobytes += int(line.split()[1])
    return kilobytes


@pytest.fixture(params=["with a space.bin", "å\x0c\u2028.bin"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path: Path = tmp_path / request.param
    path.write_bytes(bytes(range(256)) * 4096)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="mappings are looked up in /proc")
def test_pages_that_were_read_are_given_back_and_can_be_read_again(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:] == file.read_bytes()
        assert resident(file) == 1024
        assert release_mapped(file.parent / ".." / file.parent.name / file.name) == 2**20
        assert resident(file) == 0
        assert mapped[:] == file.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="mappings are looked up in /proc")
def test_what_was_written_to_a_mapping_is_not_lost(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[5000] = 0
        assert release_mapped(file) == 0
        assert mapped[5000] == 0


def test_a_file_that_nobody_mapped_is_none_to_give_back(file: Path) -> None:
    assert release_mapped(file) == 0
    assert release_mapped(file / "nowhere") == 0
