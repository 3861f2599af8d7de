"""Memory that was freed by threads goes back to the system."""

import subprocess
import sys

import pytest

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
