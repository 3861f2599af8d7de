"""Servers that tools start end with them."""

import signal
import subprocess
import sys

from tools.servers import ROOT

_PROGRAM = """
import time
from tools.servers import end_as_if_interrupted
end_as_if_interrupted()
try:
    print("up", flush=True)
    time.sleep(60)
finally:
    print("stopped what it started", flush=True)
"""


def test_sigterm_lets_a_program_stop_what_it_started() -> None:
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        program.send_signal(signal.SIGTERM)
        assert program.communicate(timeout=30)[0] == "stopped what it started\n"
        assert program.returncode != 0
