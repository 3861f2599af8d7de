"""How long the service takes from nothing to ready: `python -m benchmarks.cold_start`.

Seconds from `bentoml serve` to `/readyz` 200, divided by those of a bare Python that imports torch and open_clip and loads
the same weights as a user would, in turns on the same machine; for the bundled model and ViT-B-32 with random weights,
in PyTorch and from exported files. Each start has a data folder of its own, empty; the disk's cache is warm. `--imports`
shows instead what the imports of the parent process and of the worker take.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.inputs import random_model
from crossmodal.clip.exporting import export_model
from crossmodal.clip.spec import BUNDLED
from tools.servers import ENTRY, ROOT, START_SECONDS, Server, end_as_if_interrupted, environment, free_port

ROUNDS = 5
POLL_SECONDS = 0.02
MOST = {"torch": 1.3, "openvino": 0.5}
"""Times the bare process that a start may take."""
SHOWN = 25
"""Imports that are listed."""

BARE = """
import sys
import torch, open_clip
model, _ = open_clip.create_model_from_pretrained(sys.argv[1])
model.eval()
"""

WORKER = ("-m", "_bentoml_impl.worker.service", ENTRY, "--service-name", "CrossModalSearch", "--worker-id", "1")


def bare_seconds(folder: Path) -> float:
    """From the start of a bare Python to the end of it, the model loaded."""
    began = time.perf_counter()
    subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-c", BARE, f"local-dir:{folder}"], cwd=ROOT, check=True, capture_output=True
    )
    return time.perf_counter() - began


def start_seconds(model: str, runtime: str) -> float:
    """From the start of the service to its being ready. Raises RuntimeError with its log if it does not become so."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        server = Server(Path(folder), MODEL=model, RUNTIME=runtime)
        try:
            while not _is_ready(server.port):
                if server.process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    raise RuntimeError(f"the server did not become ready:\n{server.log[-3000:]}")
                time.sleep(POLL_SECONDS)
            return time.perf_counter() - began
        finally:
            server.stop()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=6)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def measure(sources: dict[str, Path], exports: dict[str, Path], rounds: int) -> list[dict[str, object]]:
    """Every start in turns; a warm one before, which fills caches and is not counted."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for turn in range(rounds + 1):
        for name, source in sources.items():
            taken = {
                "bare": bare_seconds(source),
                "torch": start_seconds(f"local-dir:{source}", "torch"),
                "openvino": start_seconds(f"local-dir:{exports[name]}", "openvino"),
            }
            print(json.dumps({"round": turn, "model": name, "load": os.getloadavg()[0], **taken}), flush=True)
            if turn:
                for what, value in taken.items():
                    seconds[name, what].append(value)
    return [_row(name, runtime, seconds) for name in sources for runtime in MOST]


def _row(name: str, runtime: str, seconds: dict[tuple[str, str], list[float]]) -> dict[str, object]:
    starts, bares = seconds[name, runtime], seconds[name, "bare"]
    ratios = [start / bare for start, bare in zip(starts, bares, strict=True)]
    return {
        "model": name,
        "runtime": runtime,
        "seconds": round(statistics.median(starts), 2),
        "bare": round(statistics.median(bares), 2),
        "ratio": round(statistics.median(ratios), 2),
        "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "most": MOST[runtime],
    }


def table(rows: list[dict[str, object]]) -> str:
    """The rows as people read them."""
    lines = ["model      runtime    start s  bare s  ratio  range          at most"]
    for row in rows:
        spread = "{:.2f} to {:.2f}".format(*row["range"])  # type: ignore[misc]  # two numbers
        lines.append(
            f"{row['model']:<10} {row['runtime']:<10} {row['seconds']:>7.2f} {row['bare']:>7.2f} {row['ratio']:>6.2f}"
            f"  {spread:<14} {row['most']:>6}"
        )
    return "\n".join(lines)


def imports_of(arguments: list[str], port: int, folder: Path, **settings: str) -> list[tuple[int, int, str]]:
    """Microseconds a module took itself, and with what it imported, until the service at ``port`` was ready."""
    (folder / "bentoml").mkdir(exist_ok=True)
    log = folder / "imports.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - this Python
            [sys.executable, "-X", "importtime", *arguments],
            cwd=ROOT,
            env=environment(folder, **settings),
            stdout=output,
            stderr=output,
            close_fds=False,  # the worker is handed its socket
            start_new_session=True,
        )
        until = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < until and not _is_ready(port):
            time.sleep(POLL_SECONDS)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    return _parse(log.read_text(errors="replace"))


def parent_imports(folder: Path, **settings: str) -> list[tuple[int, int, str]]:
    """Imports of the process that starts workers; theirs are not among them."""
    port, command = free_port(), Path(sys.executable).with_name("bentoml")
    arguments = [str(command), "serve", ENTRY, "--host", "127.0.0.1", "--port", str(port)]
    return imports_of(arguments, port, folder, **settings)


def worker_imports(folder: Path, **settings: str) -> list[tuple[int, int, str]]:
    """Imports of a worker, started as its parent would."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)  # noqa: FBT003 - takes it by position only
        arguments = [*WORKER, "--fd", str(listener.fileno())]
        return imports_of(arguments, listener.getsockname()[1], folder, **settings)


def _parse(log: str) -> list[tuple[int, int, str]]:
    found = []
    for line in log.splitlines():
        head, _, rest = line.partition("import time:")
        parts = rest.split("|")
        if not head and len(parts) == 3 and parts[0].strip().isdecimal():
            found.append((int(parts[0]), int(parts[1]), parts[2].strip()))
    return found


def show_imports(title: str, found: list[tuple[int, int, str]]) -> None:
    """The largest by what they took themselves, by package, and with what they imported."""
    own: dict[str, int] = defaultdict(int)
    for taken, _, module in found:
        own[module.partition(".")[0]] += taken
    print(f"\n{title}: {len(found)} modules, {sum(own.values()) / 1e6:.2f} s")
    print("  self, by package:")
    for package, taken in sorted(own.items(), key=lambda each: -each[1])[:SHOWN]:
        print(f"    {taken / 1000:9.1f} ms  {package}")
    print("  self and cumulative, by module:")
    for taken, whole, module in sorted(found, key=lambda each: -each[1])[:SHOWN]:
        print(f"    {taken / 1000:9.1f} ms {whole / 1000:9.1f} ms  {module}")


def main() -> None:
    """Measure and print one JSON object a line, and a table; exit with 1 when a start takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--model", choices=("tiny", "ViT-B-32"), help="only this one")
    parser.add_argument("--imports", action="store_true", help="show what imports take instead")
    parser.add_argument("--require", action="store_true", help="fail when a start takes longer than it may")
    options = parser.parse_args()
    end_as_if_interrupted()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {"tiny": BUNDLED["tiny"]}
        if options.model != "tiny" and not options.imports:
            sources["ViT-B-32"] = Path(random_model(folder / "random").removeprefix("local-dir:"))
        if options.model:
            sources = {options.model: sources[options.model]}
        exports = {
            name: export_model(f"local-dir:{path}", out=folder / f"{name}-export", exports=folder)
            for name, path in sources.items()
        }
        if options.imports:
            source, export = sources["tiny"], exports["tiny"]
            show_imports("parent", parent_imports(folder, MODEL=f"local-dir:{source}"))
            show_imports("worker, PyTorch", worker_imports(folder, MODEL=f"local-dir:{source}", RUNTIME="torch"))
            show_imports("worker, OpenVINO", worker_imports(folder, MODEL=f"local-dir:{export}", RUNTIME="openvino"))
            return
        rows = measure(sources, exports, options.rounds)
    for row in rows:
        print(json.dumps(row))
    print(table(rows))
    if options.require and any(float(str(row["ratio"])) > float(str(row["most"])) for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
