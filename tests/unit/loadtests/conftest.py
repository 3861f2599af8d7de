"""A server that answers everything, in a process of its own that can be stopped."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Answering:
    pid: int
    url: str


@pytest.fixture
def answering() -> Iterator[Answering]:
    command = [sys.executable, str(Path(__file__).with_name("answering.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Answering(process.pid, f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()
