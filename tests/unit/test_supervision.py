"""Signals, exit status and children, in processes of their own: what is tested ends them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest

from crossmodal.supervision import (
    EXIT_MISCONFIGURED,
    begin,
    in_daemon_thread,
    only_starts_workers,
    others_ended,
    outcome,
    served,
)
from tools.servers import ROOT, free_port

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Run code in processes of their own, each ready when returned; they end with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        program = "from crossmodal import supervision\n" + textwrap.dedent(code)
        process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=PIPE, text=True)
        processes.append(process)
        assert line_of(process) == "ready"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def until_gone(pid: int) -> None:
    for _ in range(200):
        if gone(pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} lives on")


@pytest.mark.parametrize(
    "code",
    [
        """
        import time
        supervision.end_quietly_on_sigterm()
        print("ready", flush=True)
        time.sleep(60)
        """,
        """
        import time
        with supervision.exit_on_sigterm():
            print("ready", flush=True)
            time.sleep(60)
        """,
    ],
    ids=["before anything began", "while something long is begun"],
)
def test_sigterm_before_there_is_anything_to_finish(start: Start, code: str) -> None:
    process = start(code)
    process.terminate()
    assert process.wait(10) == 0


def test_exiting_on_sigterm_ends_with_its_block(start: Start) -> None:
    process = start(
        """
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: exit(7))
        with supervision.exit_on_sigterm():
            pass
        supervision.end_quietly_on_sigterm()  # somebody handles it already
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    process.terminate()
    assert process.wait(10) == 7


def test_a_worker_that_can_never_work_ends_its_parent_with_a_status(start: Start) -> None:
    process = start(
        """
        import signal, subprocess, sys, time
        supervision.supervise()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as BentoML's parent ends
        worker = "import os; from crossmodal import supervision; supervision.end_server(os.getppid())"
        child = subprocess.Popen([sys.executable, "-c", worker])
        print("ready", flush=True)
        print(child.wait(), flush=True)
        time.sleep(60)
        """
    )
    assert process.wait(20) == EXIT_MISCONFIGURED


def test_without_a_fault_the_parents_status_is_its_own(start: Start) -> None:
    process = start(
        """
        import signal, sys, time
        supervision.supervise()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    process.terminate()
    assert process.wait(10) == 0


def test_a_worker_whose_parent_is_gone_ends_alone(start: Start) -> None:
    process = start('print("ready", flush=True)\nsupervision.end_server(1_000_000)')
    assert process.wait(10) == EXIT_MISCONFIGURED  # and this process, which is its parent, got no signal


def test_a_worker_ends_when_its_parent_is_killed(start: Start, tmp_path: Path) -> None:
    process = start(
        """
        import subprocess, sys, time
        worker = (
            "import sys, time; from crossmodal import supervision; supervision.end_with_parent();"
            "open(sys.argv[1], 'w').write('x'); time.sleep(60)"
        )
        child = subprocess.Popen([sys.executable, "-c", worker, sys.argv[1]])
        while not __import__("os").path.exists(sys.argv[1]):
            time.sleep(0.05)
        print("ready", flush=True)
        print(child.pid, flush=True)
        time.sleep(60)
        """,
        str(tmp_path / "started"),
    )
    child = int(line_of(process))
    process.kill()
    process.wait()
    until_gone(child)


def test_sigterm_waits_for_what_is_under_way_and_is_then_handled_as_before(start: Start) -> None:
    process = start(
        """
        import asyncio, signal, sys

        async def main():
            loop = asyncio.get_running_loop()
            over = loop.create_future()
            signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(over.set_result, "handled as before"))

            async def finish():
                print("finishing", flush=True)
                await asyncio.sleep(0.3)
                print("finished", flush=True)

            supervision.on_sigterm(finish)
            print("ready", flush=True)
            print(await over, flush=True)

        asyncio.run(main())
        """
    )
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # a second one changes nothing
    output, _ = process.communicate(timeout=10)
    assert output.split("\n")[:3] == ["finishing", "finished", "handled as before"]


def test_siblings_are_waited_for_by_their_mark(start: Start) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "a-mark-of-this-test"])
    try:
        # Seen from a child of this process, the other is a sibling.
        watcher = start(
            """
            import asyncio, time
            print("ready", flush=True)
            began = time.monotonic()
            asyncio.run(supervision.others_ended("a-mark-of-this-test", within=0.5))
            print("waited" if time.monotonic() - began > 0.4 else "did not wait", flush=True)
            asyncio.run(supervision.others_ended("a-mark-of-this-test", within=20))
            print("ended", flush=True)
            """
        )
        assert line_of(watcher) == "waited"
        process.kill()
        process.wait()
        assert line_of(watcher) == "ended"
        watcher.wait(10)
    finally:
        process.kill()
        process.wait()


async def test_nobody_to_wait_for() -> None:
    began = time.monotonic()
    await others_ended("no process has this on its command line", within=30)
    assert time.monotonic() - began < 10


async def test_work_in_a_daemon_thread_is_awaited_with_its_errors() -> None:
    assert await in_daemon_thread(lambda: 6 * 7) == 42

    def fail() -> int:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        await in_daemon_thread(fail)


def test_a_daemon_thread_does_not_keep_the_process(start: Start) -> None:
    process = start(
        """
        import asyncio, time

        async def main():
            print("ready", flush=True)
            try:
                async with asyncio.timeout(0.1):
                    await supervision.in_daemon_thread(lambda: time.sleep(60))
            except TimeoutError:
                pass

        asyncio.run(main())
        """
    )
    assert process.wait(10) == 0


async def test_work_that_ended_before_anybody_waited() -> None:
    begun = begin(lambda: 6 * 7)
    assert begun.result(10) == 42
    assert await outcome(begun) == 42


def test_nothing_is_collected_until_the_end(start: Start) -> None:
    process = start(
        """
        import gc
        print("ready", flush=True)
        end = supervision.collect_nothing_meanwhile()
        print(gc.isenabled(), gc.get_freeze_count() > 0)
        end("whatever")
        print(gc.isenabled(), gc.get_freeze_count() > 0)
        """
    )
    assert [line_of(process), line_of(process)] == ["False False", "True True"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/bin/bentoml", "serve", "service:CrossModalSearch"], (True, "")),
        (["/bin/bentoml", "build"], (False, "")),
        (["/lib/worker/service.py", "service:CrossModalSearch", "--service-name", "Encoder"], (False, "Encoder")),
        (["/lib/worker/service.py", "--service-name"], (False, "")),
        (["/bin/pytest"], (False, "")),
    ],
)
def test_which_process_this_is(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: tuple[bool, str]
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert (only_starts_workers(), served()) == expected


def test_the_process_that_starts_workers_imports_neither_the_api_nor_a_model() -> None:
    program = """
import sys
sys.argv[:] = ["bentoml", "serve", "service:CrossModalSearch"]
import service
heavy = ["fastapi", "crossmodal.wiring", "crossmodal.api", "aiohttp", "PIL", "torch", "openvino", "qdrant_client"]
print([name for name in heavy if name in sys.modules], service.app)
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=os.environ | {"CROSSMODAL_MODEL": "tiny"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert outcome.stdout.splitlines()[-1] == "[] None"


def test_bentoml_makes_no_spans_of_what_an_encoder_is_asked(tmp_path: Path) -> None:
    program = """
import sys
sys.argv[:] = ["/lib/worker/service.py", "--service-name", "Encoder"]
import service
from crossmodal.api import protocol
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
async def app(scope, receive, send):
    print(is_http_instrumentation_enabled(), flush=True)
import asyncio, os
asyncio.run(protocol._around(app)({"type": "http"}, None, None))
os._exit(0)  # the model is still being loaded
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=os.environ | {"CROSSMODAL_MODEL": "tiny", "CROSSMODAL_DATA": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert outcome.stdout.splitlines()[-1] == "False"


ARBITER = """
from circus import get_arbiter
{supervise}
watchers = [dict(name=name, cmd="sleep", args="60", numprocesses=1) for name in ("first", "second")]
arbiter = get_arbiter(watchers, controller=sys.argv[1], pubsub_endpoint=sys.argv[2], warmup_delay=1.5)
print("ready", flush=True)
arbiter.start()
"""


def starting(start: Start, supervise: str) -> subprocess.Popen[str]:
    """A parent that takes three seconds to start its workers, and is asked to end in the midst of that."""
    endpoints = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    process = start("import sys" + ARBITER.format(supervise=supervise), *endpoints)
    time.sleep(0.75)
    process.send_signal(signal.SIGTERM)
    return process


def test_a_parent_that_is_starting_its_workers_ends_when_it_has(start: Start) -> None:
    assert starting(start, "supervision.supervise()").wait(30) == 0


@pytest.mark.slow
def test_left_to_itself_it_would_forget(start: Start) -> None:
    process = starting(start, "")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(8)
    process.send_signal(signal.SIGTERM)  # now it has started them
    assert process.wait(30) == 0


def test_the_file_of_metrics_that_begin_with_the_first_request_is_there_before(tmp_path: Path) -> None:
    # Read while it is still empty, as it would be for a moment, it makes `/metrics` fail.
    code = """
        import os, pathlib, sys
        from crossmodal import supervision
        made = pathlib.Path(sys.argv[1], f"gauge_all_{os.getpid()}.db")
        assert made.stat().st_size > 0
        from prometheus_client import Gauge
        from prometheus_client.multiprocess import MultiProcessCollector
        collector = MultiProcessCollector(None)
        assert not [*collector.collect()]
        Gauge("asked", "when", multiprocess_mode="all").set(3)
        (shown,) = collector.collect()
        assert [sample.value for sample in shown.samples] == [3]
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(elsewhere), "CROSSMODAL_METRICS_FOLDER": str(tmp_path)}
    program = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    subprocess.run(program, cwd=ROOT, env=os.environ | variables, check=True)
