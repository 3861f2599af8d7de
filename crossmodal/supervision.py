"""How processes begin and end: signals, exit status, and children that do not outlive their parent.

`bentoml serve` runs a parent that starts workers, starts them again when they die, and sends SIGTERM on. Three things
it leaves open are done here: a worker that can never work ends the whole server with a status that says so; a worker
that is asked to end says "not ready" first and finishes what it has; and no worker outlives a parent that was killed.
"""

import asyncio
import atexit
import ctypes
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import psutil
import structlog

from crossmodal.errors import ConfigurationError, FingerprintMismatch

T = TypeVar("T")

_PARENT = os.getppid()
"""What started this process, if this is a worker; it may have gone since."""

_METRICS_HERE = "CROSSMODAL_METRICS_FOLDER"
_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_LATE_METRICS = ("gauge_all",)
"""Kinds of metrics, as their files are called, of which BentoML makes the first when a request comes."""
_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own is made there

EXIT_MISCONFIGURED = 78
"""EX_CONFIG of sysexits.h."""
SWITCH_SECONDS = 0.0005
_GIVE_UP_SIGNAL = signal.SIGUSR1
_ASK_AGAIN_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SERVICE = "--service-name"
"""Comes before a service's name on the command lines of its workers."""


def end_quietly_on_sigterm() -> None:
    """Exit with 0 on SIGTERM as long as nobody else handles it: nothing has begun yet."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def keep_metrics_in_memory() -> None:
    """In the parent: let the workers keep their metrics' files where no full disk can kill them.

    The files are written through memory maps: on a full disk the kernel kills the process that counts something (SIGBUS).
    Call before workers start; each calls ``use_metrics_in_memory``. Where there is no such place nothing changes.
    """
    if _METRICS_HERE in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    folder = tempfile.mkdtemp(prefix="crossmodal-metrics-", dir=_MEMORY)
    os.environ[_METRICS_HERE] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def use_metrics_in_memory() -> None:
    """In a worker, before the first metric is made.

    The file of a kind of metric that begins with the first request is made now: it is empty for a moment, and `/metrics` asked
    at that moment, as of a replica that was just let in, answered 500.
    """
    folder = os.environ.get(_METRICS_HERE)
    if folder is None or _METRICS not in os.environ:
        return
    os.environ[_METRICS] = folder
    from prometheus_client import mmap_dict  # here, because the library reads the variable when it is imported

    files: Any = mmap_dict  # without types
    for kind in _LATE_METRICS:
        files.MmapedDict(str(Path(folder, f"{kind}_{os.getpid()}.db"))).close()


def shared_memory() -> Path | None:
    """A folder in memory that the processes of this server share, and no other; None where there is none."""
    folder = os.environ.get(_METRICS_HERE)
    return None if folder is None else Path(folder)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Exit with 0 on SIGTERM while the block runs: it takes long, and nothing is under way yet."""
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def supervise() -> None:
    """In the parent: let a worker end everything by ``end_server``, with a status other than 0."""
    failed = False

    def give_up(_: int, __: FrameType | None) -> None:
        nonlocal failed
        failed = True
        os.kill(os.getpid(), signal.SIGTERM)

    def exit_with_status() -> None:
        if failed:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(EXIT_MISCONFIGURED)

    signal.signal(_GIVE_UP_SIGNAL, give_up)
    atexit.register(exit_with_status)  # before the next one, for the last one registered runs first
    keep_metrics_in_memory()
    _insist_on_sigterm()


def _insist_on_sigterm() -> None:
    """In the parent: let SIGTERM end it at whatever moment it comes.

    Circus, which keeps the workers, refuses to quit while it starts or counts them, and forgets that it was asked. So
    it is asked until its event loop ends; while it is ending it refuses, too, and goes on ending.
    """
    from circus.sighandler import SysHandler

    def handle_term(self: SysHandler) -> None:
        loop = self.controller.loop

        def ask() -> None:
            self.quit()
            loop.call_later(_ASK_AGAIN_SECONDS, ask)

        loop.add_callback_from_signal(ask)

    SysHandler.handle_term = handle_term


def stop_before_cleaning(arbiter: type) -> None:
    """In the parent: let BentoML's ``arbiter`` delete the folder of its workers' sockets when it ends, not when it begins to.

    It deletes it before the workers are asked to end. An API that finishes what it has could then open no new connection to
    the encoder, and answered 503 wherever those that were open did not suffice.
    """
    stop_workers: Any = arbiter.__mro__[1].stop  # type: ignore[attr-defined]  # circus's own

    def stop(self: Any) -> Any:
        atexit.register(self.exit_stack.close)  # what is registered more than once finds nothing left to close
        return stop_workers(self)

    arbiter.stop = stop  # type: ignore[attr-defined]


def end_server(parent: int) -> None:
    """In a worker that can never work: end the server, not this worker alone, which would be started again for ever.

    ``parent`` is the process that started this one; if it is gone already only this one ends.
    """
    sys.stderr.flush()
    if os.getppid() == parent:
        os.kill(parent, _GIVE_UP_SIGNAL)
    os._exit(EXIT_MISCONFIGURED)


@contextmanager
def fatal_if_misconfigured() -> Iterator[None]:
    """End the whole server with one line if the block finds settings, weights or store unusable."""
    try:
        yield
    except (ConfigurationError, FingerprintMismatch) as error:
        cause = {} if error.__cause__ is None else {"cause": repr(error.__cause__)}
        structlog.get_logger().critical("cannot start", code=error.code, detail=error.detail, **cause)
        end_server(_PARENT)


def end_with_parent() -> None:
    """In a worker: get SIGTERM when the parent dies, however it dies. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def on_sigterm(finish: Callable[[], Awaitable[None]]) -> None:
    """Await ``finish`` when SIGTERM comes, then do what was done on it before. Call in the main thread's event loop."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)
    tasks: set[asyncio.Task[None]] = set()

    async def run() -> None:
        try:
            await finish()
        finally:
            if callable(before):
                before(signal.SIGTERM, None)

    def start() -> None:
        if not tasks:
            tasks.add(loop.create_task(run()))

    def handle(_: int, __: FrameType | None) -> None:
        loop.call_soon_threadsafe(start)

    signal.signal(signal.SIGTERM, handle)


async def others_ended(mark: str, *, within: float) -> None:
    """Return when no other child of this process's parent has ``mark`` on its command line, or after ``within`` seconds."""
    parent = os.getppid()
    deadline = asyncio.get_running_loop().time() + within
    while asyncio.get_running_loop().time() < deadline:
        if not await asyncio.to_thread(_siblings, parent, mark):
            return
        await asyncio.sleep(0.1)


def _siblings(parent: int, mark: str) -> list[int]:
    try:
        children = psutil.Process(parent).children()
    except psutil.NoSuchProcess:
        return []
    return [child.pid for child in children if child.pid != os.getpid() and _has_mark(child, mark)]


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and mark in process.cmdline()
    except psutil.Error:
        return False


def only_starts_workers() -> bool:
    """Whether this is the process of `bentoml serve`, which serves nothing itself."""
    return Path(sys.argv[0]).name == "bentoml" and sys.argv[1:2] == ["serve"]


def served() -> str:
    """The name of the service this process is a worker of, empty in every other process."""
    before = sys.argv.index(_SERVICE) if _SERVICE in sys.argv[:-1] else None
    return "" if before is None else sys.argv[before + 1]


def begin(work: Callable[[], T]) -> Future[T]:
    """Run ``work`` in a thread that does not keep the process from ending."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it belongs to who waits
            result.set_exception(error)

    threading.Thread(target=run, name="loader", daemon=True).start()
    return result


def take_turns_quickly() -> None:
    """Let threads hand each other the interpreter after half a millisecond instead of five.

    The event loop, the threads that feed decoders and a runtime that comes back to Python for every operation, as PyTorch
    does, wait for each other so long each time: with three times the load a service can bear, 7 to 15 % more was answered.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def collect_nothing_meanwhile() -> Callable[[object], None]:
    """Switch the cyclic garbage collector off until what is returned is called, with anything.

    Imports make hundreds of thousands of objects that stay: looking through them again and again takes a tenth of the time.
    In the end they are set aside for good, so that no later collection, in the midst of requests, looks through them.
    """
    gc.disable()

    def collect(_: object) -> None:
        gc.freeze()
        gc.enable()

    return collect


async def outcome(begun: Future[T]) -> T:
    """What came of it; who waits may leave, and its event loop may be closed, before there is anything."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    begun.add_done_callback(lambda _: _call_if_open(loop, ended.set))
    await ended.wait()
    return begun.result()


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread that does not keep the process from ending."""
    return await outcome(begin(work))


def _call_if_open(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


use_metrics_in_memory()  # metrics are made when their modules are imported, and this one is imported before them
