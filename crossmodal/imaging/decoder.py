"""A process that decodes pictures, seen from the service: asked, timed, killed, replaced.

Decoders are C libraries fed by strangers: a fault in one must cost a picture, not the service, and a thread that hangs
in one could never be ended. The process is started afresh with `exec`, never forked, since the service has threads; it
inherits no secrets: neither the environment nor open files. docs/adr/0007-decoding-isolation.md has the measurements.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from crossmodal.errors import DeadlineExceeded, ImageUndecodable, Overloaded, ServerError, Shed
from crossmodal.imaging import wire, worker
from crossmodal.imaging.limits import ImageLimits
from crossmodal.imaging.prepare import Prepared
from crossmodal.records import DecoderLoss, Preprocessing, hash_content

_START_SECONDS = 60.0
_STARTS = 2
"""The kernel ends decoders first where memory is short, also one that starts; it need not be short again."""
_TRIES = 2
"""The same, of a picture that one of them was ended over."""
_GRACE_SECONDS = 2.0
_PIPE_BYTES = 2**20
_KEPT_BYTES = 2**26
_STOPPING = "the service is stopping"
_KILLED = "Processes that decode pictures are ended from outside here, as where memory is short; try again."
_NO_START = "No process to decode pictures can be started."
_ROOT = Path(__file__).resolve().parents[2]

_log = structlog.get_logger(__name__)


class Decoder:
    """One decoding process, started when it is first needed and whenever it was lost.

    Its methods block and are called from one thread at a time, ``close`` from any. ``seconds`` of CPU time a
    picture may take, and thrice that by the clock; ``on_lost`` is told why a process was lost.
    """

    def __init__(
        self, limits: ImageLimits, seconds: float, on_lost: Callable[[DecoderLoss], None] = lambda _reason: None
    ) -> None:
        self._limits = limits
        self._seconds = seconds
        self._on_lost = on_lost
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # who holds it may use the pipes

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process if there is none and wait until it is ready: 0.2 to 0.5 s. Raises ServerError."""
        with self._lock:
            try:
                self._running()
            except _Ended as error:
                raise ServerError(_NO_START) from error

    def prepare(self, content: bytes, preprocessing: Preprocessing, *, thumbnail: bool = False) -> Prepared:
        """Do what ``crossmodal.imaging.prepare`` does, in the process.

        Raises what that raises; ImageUndecodable for a picture that uses up its CPU time or crashes the process;
        DeadlineExceeded when it is not ready in time all the same; Overloaded when somebody kills the process, twice;
        ServerError when it cannot be started or fails by itself.
        """
        with self._lock:
            for _ in range(_TRIES - 1):
                with suppress(_Ended):
                    return self._asked(content, preprocessing, thumbnail=thumbnail)
            return self._asked(content, preprocessing, thumbnail=thumbnail)

    def close(self) -> None:
        """End the process, whatever it does, and start no other."""
        self._closed = True
        if self._process is not None:
            self._process.kill()  # whoever waits for its answer now sees its end, and lets go of the lock
        with self._lock:
            if self._process is not None:
                _end(self._process)

    def _asked(self, content: bytes, preprocessing: Preprocessing, *, thumbnail: bool) -> Prepared:
        """Raises what ``prepare`` does; _Ended where another process may do better."""
        process = self._running()
        until = time.monotonic() + worker.clock_seconds(self._seconds) + _GRACE_SECONDS
        try:
            _send(process, (wire.pack_order(content, preprocessing, thumbnail=thumbnail), content), until)
            head = bytes(_receive(process, wire.ANSWER.size, until))
            return wire.unpack_answer(head, preprocessing.size, lambda count: _receive(process, count, until))
        except (EOFError, OSError) as error:  # TimeoutError and BrokenPipeError are OSErrors
            raise self._lost(process, content, timed_out=isinstance(error, TimeoutError)) from error
        except wire.BadAnswer as error:
            _end(process)
            self._on_lost(DecoderLoss.FAULT)
            _log.error("decoder failed", trace=str(error))
            raise ServerError("The picture could not be decoded by a fault of this service.") from error

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise Overloaded(_STOPPING, shed=Shed.ENDING)
        if self._process is not None:
            if self._process.poll() is None:
                return self._process
            _end(self._process)
            self._process = None
        return self._begin(_STARTS)

    def _begin(self, attempts: int) -> subprocess.Popen[bytes]:
        """A new process that is ready. Raises Overloaded where there shall be none any more, _Ended, ServerError."""
        try:
            return self._started()
        except (_Ended, EOFError, OSError) as error:
            if self._closed:
                raise Overloaded(_STOPPING, shed=Shed.ENDING) from error
            if attempts == 1 and isinstance(error, _Ended):
                raise
            if attempts == 1 or isinstance(error, OSError):
                raise ServerError(_NO_START) from error
        _log.warning("decoder lost while starting")
        return self._begin(attempts - 1)

    def _started(self) -> subprocess.Popen[bytes]:
        """A new process that is ready. Raises _Ended if somebody killed it before that, EOFError if it ended, OSError."""
        process = self._spawn()
        self._process = process  # now, so that close ends it while it is starting
        try:
            _receive(process, len(wire.READY), time.monotonic() + _START_SECONDS)
        except (EOFError, OSError) as error:
            killed = isinstance(error, EOFError) and _status(process) == -signal.SIGKILL
            _end(process)
            if killed and not self._closed:
                self._on_lost(DecoderLoss.KILLED)
                raise _Ended(_KILLED, shed=Shed.DECODERS) from error
            raise
        return process

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)]),
            "OPENBLAS_NUM_THREADS": "1",
            # Keep the memory of an ordinary picture for the next: giving it back and faulting it in costs half as much
            # as decoding (glibc; elsewhere without effect).
            "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BYTES // 2),
            "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES),
        }
        # Where Python itself is only found through it; nothing else of the environment is handed on.
        library_path = os.environ.get("LD_LIBRARY_PATH")
        if library_path:
            environment["LD_LIBRARY_PATH"] = library_path
        command = [sys.executable, "-P", "-m", worker.__name__, worker.configuration(self._limits, self._seconds)]
        process = subprocess.Popen(  # noqa: S603 - our own module, with numbers as its argument
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, close_fds=True
        )
        for end in _ends(process):
            os.set_blocking(end, False)
            with suppress(OSError):  # more than this user may have: slower, not wrong
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return process

    def _lost(
        self, process: subprocess.Popen[bytes], content: bytes, *, timed_out: bool
    ) -> ImageUndecodable | DeadlineExceeded | Overloaded:
        """End what is left of the process and say what the picture did to it."""
        status = None if timed_out else _status(process)
        _end(process)
        if self._closed:
            return Overloaded(_STOPPING, shed=Shed.ENDING)
        if status == 0:  # of its own will, for the picture before had used up its memory: it never read this one
            return _Ended(_KILLED, shed=Shed.DECODERS)
        by_clock = timed_out or status == -worker.CLOCK_OVERDUE
        too_long = by_clock or status == -worker.CPU_OVERDUE
        killed = status == -signal.SIGKILL  # which no picture does: its own limits end otherwise
        reason = DecoderLoss.DEADLINE if too_long else DecoderLoss.KILLED if killed else DecoderLoss.CRASH
        self._on_lost(reason)
        _log.warning("decoder lost", reason=reason, status=status, sha256=hash_content(content), bytes=len(content))
        if by_clock:  # without having used up its CPU time: the machine is too busy, or somebody stopped the process
            return DeadlineExceeded("The picture could not be decoded in time; try again.")
        if too_long:
            return ImageUndecodable(f"The picture takes too long to decode: over {self._seconds:g} s.")
        if killed:
            return _Ended(_KILLED, shed=Shed.DECODERS)
        return ImageUndecodable("The picture cannot be decoded: it breaks the decoder.")


class _Ended(Overloaded):
    """The process has ended, and not by this picture."""


def _ends(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Our ends of its input and its output."""
    if process.stdin is None or process.stdout is None:
        raise OSError("the process has no pipes")
    return process.stdin.fileno(), process.stdout.fileno()


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit status, a negative signal, or None if it still runs though its pipe is closed."""
    try:
        return process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _send(process: subprocess.Popen[bytes], parts: Sequence[wire.Part], until: float) -> None:
    """Write everything. Raises TimeoutError, BrokenPipeError."""
    descriptor, _ = _ends(process)
    left: Sequence[wire.Part] = parts
    while left:
        try:
            left = wire.write_some(descriptor, left)
        except BlockingIOError:
            _wait(descriptor, select.POLLOUT, until)


def _receive(process: subprocess.Popen[bytes], count: int, until: float) -> bytearray:
    """Read ``count`` bytes. Raises TimeoutError, EOFError."""
    _, descriptor = _ends(process)
    content = bytearray(count)
    view, at = memoryview(content), 0
    while at < count:
        try:
            read = os.readv(descriptor, [view[at:]])
        except BlockingIOError:
            _wait(descriptor, select.POLLIN, until)
            continue
        if not read:
            raise EOFError
        at += read
    return content


def _wait(descriptor: int, event: int, until: float) -> None:
    """Wait until the pipe can be used or is closed. Raises TimeoutError."""
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError
