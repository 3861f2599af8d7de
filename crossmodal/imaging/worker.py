"""The decoding process: `python -m crossmodal.imaging.worker CONFIGURATION`, started by ``crossmodal.imaging.decoder``.

It takes orders on its standard input and answers on its standard output, one picture at a time, until the input ends,
which it also does when the service is killed. The kernel ends it when a picture takes too long, whatever a decoder does:
by CPU time, which a busy machine does not use up for it, and much later by the clock.
"""

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from PIL import AvifImagePlugin

from crossmodal.errors import ClientError
from crossmodal.imaging import wire
from crossmodal.imaging.limits import ImageLimits
from crossmodal.imaging.prepare import prepare

_BASE_MEMORY = 512 * 2**20
_MEMORY_PER_PIXEL = 32
_MEMORY_PER_BYTE = 4
_CLOCK_FACTOR = 3


CPU_OVERDUE = signal.SIGPROF
CLOCK_OVERDUE = signal.SIGALRM
"""What the kernel ends this process with when a picture takes too long: by CPU time, and by the clock."""


def configuration(limits: ImageLimits, seconds: float) -> str:
    """The process's only argument: the limits of pictures, and the seconds of CPU time one may take."""
    return json.dumps({"seconds": seconds, "limits": asdict(limits)})


def clock_seconds(seconds: float) -> float:
    """Seconds by the clock that a picture may take which may take ``seconds`` of CPU time."""
    return seconds * _CLOCK_FACTOR


def memory_for(limits: ImageLimits) -> int:
    """Bytes of address space: twice what the hungriest pictures within ``limits`` were measured to need."""
    return _BASE_MEMORY + _MEMORY_PER_PIXEL * limits.max_pixels + _MEMORY_PER_BYTE * limits.max_bytes


def confine(memory: int) -> None:
    """Bound this process to ``memory`` bytes, let it write no files, and offer it first when the machine runs short."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with suppress(OSError):  # not allowed everywhere, and not needed
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def main() -> None:
    """Serve orders until there are no more."""
    given = json.loads(sys.argv[1])
    limits, seconds = ImageLimits(**given["limits"]), float(given["seconds"])
    # Both come to the whole process group, as from a terminal, while the service still finishes its requests.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for number in (CPU_OVERDUE, CLOCK_OVERDUE):
        signal.signal(number, signal.SIG_DFL)
    answers = _claim_streams()
    confine(memory_for(limits))
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the cores are shared out by pictures; threads would each claim memory
    with suppress(BrokenPipeError):
        _send(answers, (wire.READY,))
        while head := _receive(wire.ORDER.size):
            if not _serve(head, answers, limits, seconds):
                return


def _claim_streams() -> int:
    """Keep the standard output for answers alone: whatever a library prints is dropped."""
    answers = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    return answers


def _serve(head: bytes, answers: int, limits: ImageLimits, seconds: float) -> bool:
    """Answer one order; False when the process should not go on."""
    wanted, length, thumbnail = wire.ORDER.unpack(head)
    order, content = _receive(wanted), _receive(length)
    sound = True
    _set_timers(seconds)
    try:
        preprocessing = wire.unpack_preprocessing(order)
        parts = wire.pack_prepared(prepare(content, preprocessing, limits, thumbnail=thumbnail))
    except ClientError as error:
        parts = wire.pack_refused(error)
        sound = not isinstance(error.__cause__, MemoryError)  # what is left of the memory may be in pieces
    except BaseException:  # noqa: BLE001 - the service reports it; a process that failed once is replaced
        parts, sound = wire.pack_broken(traceback.format_exc()), False
    _set_timers(0)
    _send(answers, parts)
    return sound


def _set_timers(seconds: float) -> None:
    """Let the kernel end this process after ``seconds`` of CPU time; 0 for never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, clock_seconds(seconds))


def _receive(count: int) -> bytes:
    """Read ``count`` bytes; b"" at the end of the input, SystemExit if it ends within."""
    content = bytearray(count)
    view, at = memoryview(content), 0
    while at < count:
        read = os.readv(0, [view[at:]])
        if not read:
            if at:
                sys.exit()
            return b""
        at += read
    return bytes(content)


def _send(descriptor: int, parts: Sequence[wire.Part]) -> None:
    left: Sequence[wire.Part] = parts
    while left:
        left = wire.write_some(descriptor, left)


if __name__ == "__main__":
    main()
