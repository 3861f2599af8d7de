"""Whether a leak is told from noise, on series whose growth is known, and what is seen of a real process."""

import random
import subprocess
import sys
import time
from contextlib import suppress

import psutil

from loadtests.growth import LEAST_SAMPLES, Growth, Sample

RATE = 200.0
"""Requests a second of the made-up runs."""
COUNT = 240
EVERY = 5.0
MB = 1_000_000


def run(
    *,
    leak: float = 0.0,
    mapped: float = 0.0,
    noise: float = 2 * MB,
    files: float = 0.0,
    threads: float = 0.0,
    warm_up: int = 0,
) -> Growth:
    """A run of 20 minutes that leaves ``leak`` bytes a request, and gains files and threads by so many a sample.

    ``mapped`` bytes of a file become resident with each request.
    """
    drawn = random.Random(4)
    wander = 0.0
    samples = []
    for number in range(COUNT):
        wander = 0.9 * wander + drawn.gauss(0, noise)  # a sample is like the one before
        early = warm_up * min(1.0, number / (0.2 * COUNT))
        size = 900 * MB + early + wander + leak * RATE * EVERY * number
        resident = size + 300 * MB + mapped * RATE * EVERY * number
        samples.append(
            Sample(EVERY * number, int(resident), int(size), int(80 + files * number), int(40 + threads * number))
        )
    return Growth(samples)


def verdicts(growth: Growth, allowed: float = 256) -> list[bool | None]:
    return [check.kept for check in growth.checks(RATE, allowed)]


def test_noise_is_no_leak() -> None:
    assert verdicts(run()) == [True, True, True]


def test_a_kilobyte_a_request_is_one() -> None:
    found = run(leak=1024)
    assert verdicts(found) == [False, True, True]
    slope = found.slope(RATE)
    assert slope is not None
    assert abs(slope.bytes_a_request - 1024) < 3 * slope.off_by < 300


def test_pages_of_a_file_are_none() -> None:
    assert verdicts(run(mapped=1024)) == [True, True, True]


def test_what_fills_at_the_start_is_none() -> None:
    assert verdicts(run(warm_up=300 * MB)) == [True, True, True]


def test_files_and_threads_that_pile_up_are_seen() -> None:
    assert verdicts(run(files=0.1)) == [True, False, True]
    assert verdicts(run(threads=0.1)) == [True, True, False]


def test_where_noise_would_hide_a_leak_nothing_is_claimed() -> None:
    assert verdicts(run(noise=200 * MB))[0] is None


def test_a_short_run_says_so() -> None:
    few = Growth(run().samples[:LEAST_SAMPLES])  # of which the first quarter does not count
    [check] = few.checks(RATE, 256)
    assert check.kept is None
    assert verdicts(Growth()) == [None]
    assert run().slope(0.0) is None


def test_a_real_process_and_its_child_are_seen_and_that_they_grow() -> None:
    child = "x = bytearray(60_000_000); import time; time.sleep(30)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            with Growth.watched(process.pid, every=0.05) as growth:
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline and not (growth.samples and growth.samples[-1].own > 60 * MB):
                    time.sleep(0.05)
        finally:
            for each in [*_children(process.pid), process.pid]:
                _kill(each)
    assert growth.samples[-1].rss > growth.samples[-1].own > 60 * MB
    assert growth.samples[-1].threads >= 2
    assert growth.samples[-1].files >= 6


def test_nothing_is_looked_at_where_the_process_is_not_known() -> None:
    with Growth.watched(None, every=0.01) as growth:
        time.sleep(0.05)
    assert growth.samples == []


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _kill(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()
