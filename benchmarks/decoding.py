"""What decoding costs: `python -m benchmarks.decoding [slow | isolation | bombs]`. docs/adr/0007 was decided on it.

`slow` decodes the slowest pictures we know that pass the limits of size, each in a process of its own; `isolation`
compares threads of this process with decoding processes, in interleaved rounds; `bombs` refuses pictures of 50,000 x
50,000 pixels, one and fifty at once.
"""

import argparse
import asyncio
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.slow_pictures import SLOW, jpeg_ordinary, png_bomb
from crossmodal import imaging
from crossmodal.errors import ClientError, ImageTooLarge
from crossmodal.imaging import ImageLimits, worker
from crossmodal.imaging.decoder import Decoder
from crossmodal.records import Preprocessing
from crossmodal.search.pictures import PictureReader

LIMITS = ImageLimits()
PREPARING = Preprocessing(224, "bicubic", "shortest", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
GIVE_UP_SECONDS = 60
WORKERS = 2
PICTURES = 100
LONE = 15
IN_FLIGHT = 16
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's clock ids

Read = Callable[[bytes], Awaitable[object]]


def measure_one(path: Path) -> None:
    """Decode one picture here and print seconds, the peak of resident memory in MB, and what came of it."""
    content = path.read_bytes()
    worker.confine(worker.memory_for(LIMITS))
    signal.alarm(GIVE_UP_SECONDS)
    before = peak_kilobytes()
    began, began_cpu = time.perf_counter(), time.process_time()
    try:
        made = imaging.prepare(content, PREPARING, LIMITS, thumbnail=True)
        outcome = f"{made.width} x {made.height}"
    except ClientError as error:
        outcome = f"{type(error).__name__}: {error.detail}"
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    memory = f"{before // 1024:4} to {peak_kilobytes() // 1024:4} MB"
    print(f"{wall:6.2f} s ({cpu:5.2f} s CPU)  {memory}  {outcome}")


def peak_kilobytes() -> int:
    """The most resident memory this program had so far; ``ru_maxrss`` counts what started it, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) if found else 0


def slow(names: list[str]) -> None:
    """Every slow picture, or those named, in a process of its own, under the memory limit of decoding processes."""
    with tempfile.TemporaryDirectory() as folder:
        for make in SLOW:
            if names and make.__name__ not in names:
                continue
            path = Path(folder) / make.__name__
            path.write_bytes(make())
            command = [sys.executable, "-m", "benchmarks.decoding", "one", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very script
            outcome = done.stdout.strip() or f"ended with {done.returncode} within {GIVE_UP_SECONDS} s"
            print(f"{make.__name__:20} {path.stat().st_size / 2**20:5.1f} MiB {outcome}", flush=True)
            path.unlink()


def cpu_seconds(pids: list[int]) -> float:
    """CPU time that processes have taken so far (Linux: a clock per process)."""
    return sum(time.clock_gettime(~pid << 3 | _PROCESS_CLOCK) for pid in pids)


async def load(read: Read, content: bytes, pids: list[int]) -> tuple[float, float]:
    """Pictures a second with ``IN_FLIGHT`` asked for at a time, and milliseconds of CPU a picture."""
    left = iter(range(PICTURES))

    async def one() -> None:
        for _ in left:
            await read(content)

    began, began_cpu = time.perf_counter(), cpu_seconds(pids)
    await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
    wall, cpu = time.perf_counter() - began, cpu_seconds(pids) - began_cpu
    return PICTURES / wall, cpu / PICTURES * 1000


async def lone_milliseconds(read: Read, content: bytes) -> float:
    """Median milliseconds of a picture that is alone."""
    times = []
    for _ in range(LONE):
        began = time.perf_counter()
        await read(content)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def isolation(rounds: int) -> None:
    """Threads against processes, ``WORKERS`` of each."""
    content = jpeg_ordinary()
    pool = ThreadPoolExecutor(WORKERS)
    reader = PictureReader(LIMITS, workers=WORKERS, max_queued=1000)
    await reader.start()

    async def in_thread(content: bytes) -> object:
        return await asyncio.get_running_loop().run_in_executor(pool, imaging.prepare, content, PREPARING, LIMITS)

    async def in_process(content: bytes) -> object:
        return await reader.read(content, PREPARING)

    pids = [os.getpid(), *(decoder.pid or 0 for decoder in reader._decoders)]  # noqa: SLF001 - their CPU time counts
    ways: dict[str, Read] = {"threads": in_thread, "processes": in_process}
    figures: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, read in ways.items():
            figures[way].append((await lone_milliseconds(read, content), *await load(read, content, pids)))
    print(f"JPEG of 640 x 480, {len(content)} bytes; {WORKERS} workers, {os.cpu_count()} cores, {rounds} rounds")
    for way, rows in figures.items():
        lone, rate, cpu = (statistics.median(row[column] for row in rows) for column in range(3))
        print(f"{way:10} {rate:7.1f} pictures/s   {lone:6.2f} ms alone   {cpu:6.2f} ms of CPU a picture")
    pairs = list(zip(figures["threads"], figures["processes"], strict=True))
    for column, name in ((1, "pictures/s"), (2, "CPU")):
        ratios = sorted(processes[column] / threads[column] for threads, processes in pairs)
        print(
            f"{name}, processes to threads in the same round: {statistics.median(ratios):.3f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    reader.close()
    start_up(rounds)


def start_up(rounds: int) -> None:
    """Seconds until a decoding process is ready, and its resident memory."""
    seconds, memory = [], []
    for _ in range(rounds):
        decoder = Decoder(LIMITS, 10)
        began = time.perf_counter()
        decoder.start()
        seconds.append(time.perf_counter() - began)
        memory.append(resident(decoder.pid or 0) / 2**20)
        decoder.close()
    print(f"a process is ready after {statistics.median(seconds):.2f} s and takes {statistics.median(memory):.0f} MB")


def resident(pid: int) -> int:
    """Bytes of resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


async def bombs(rounds: int) -> None:
    """Time and memory of refusing one bomb and fifty at once."""
    content = png_bomb()
    reader = PictureReader(LIMITS, workers=WORKERS, max_queued=1000)
    await reader.start()
    await reader.read(jpeg_ordinary(), PREPARING)
    processes = [os.getpid(), *(decoder.pid or 0 for decoder in reader._decoders)]  # noqa: SLF001 - its processes are what is measured
    for count in (1, 50):
        times = []
        before = [resident(pid) for pid in processes]
        for _ in range(rounds):
            began = time.perf_counter()
            answers = await asyncio.gather(
                *(reader.read(content, PREPARING) for _ in range(count)), return_exceptions=True
            )
            times.append(time.perf_counter() - began)
            refused = sum(isinstance(answer, ImageTooLarge) for answer in answers)
        growth = sum(resident(pid) - was for pid, was in zip(processes, before, strict=True)) / 2**20
        print(
            f"{count:3} at once: {refused} refused, all after {statistics.median(times) * 1000:.1f} ms (worst "
            f"{max(times) * 1000:.1f}); resident memory of all processes grew by {growth:.1f} MB"
        )
    reader.close()


def main() -> None:
    """Run what is asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["slow", "isolation", "bombs", "one"], help="default: all")
    parser.add_argument("names", nargs="*", help="slow pictures by name")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if arguments.what == "one":
        measure_one(Path(arguments.names[0]))
        return
    if arguments.what in {None, "slow"}:
        slow(arguments.names)
    if arguments.what in {None, "isolation"}:
        asyncio.run(isolation(arguments.rounds))
    if arguments.what in {None, "bombs"}:
        asyncio.run(bombs(arguments.rounds))


if __name__ == "__main__":
    main()
