"""One run: load on a prepared service, by locust in a process of its own or by open arrivals, and what came of it."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import uvloop

from loadtests.open_arrivals import Arrivals, drive, schedule
from loadtests.recording import Recorder
from loadtests.shapes import Shape
from loadtests.traffic import MIXES, Traffic
from tools.servers import ROOT

USERS = {"search": "SearchHeavy", "upload": "UploadHeavy", "mixed": "Mixed"}
"""Classes of `loadtests.users`, which only locust's own process imports."""
STOP_SECONDS = 70
"""Users that stop wait so long for their answers: longer than a request may hang, so that none that hangs goes uncounted."""
SLACK_SECONDS = 120


class RunFailed(Exception):
    """The load generator ended without a result."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: a mix in a shape, drawn from a seed."""

    mix: str
    shape: Shape
    seed: int


def by_locust(url: str, plan: Plan, folder: Path) -> Recorder:
    """Run headless locust against ``url`` of this machine; its own report and log stay in ``folder``.

    Raises ``RunFailed`` where it ends without a result or takes much longer than the run should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record, log = folder / "seconds.json", folder / "locust.log"
    record.unlink(missing_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    limit = plan.shape.seconds + STOP_SECONDS + SLACK_SECONDS
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                _command(url, plan, record, folder / "locust.html"),
                cwd=ROOT,
                env=kept,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise RunFailed(f"locust had not ended after {limit:.0f} s; see {log}") from None
    if code or not record.is_file():
        raise RunFailed(f"locust ended with {code} and no result:\n{log.read_text(errors='replace')[-3000:]}")
    return Recorder.from_json(json.loads(record.read_text()))


def _command(url: str, plan: Plan, record: Path, html: Path) -> list[str]:
    given: dict[str, object] = {
        "--host": url,
        "--shape": plan.shape.name,
        "--nominal-users": plan.shape.users,
        "--seconds": plan.shape.seconds,
        "--seed": plan.seed,
        "--record": record.resolve(),
        "--html": html.resolve(),
        "--stop-timeout": STOP_SECONDS,
        "--exit-code-on-error": 0,
        "--loglevel": "WARNING",
    }
    words = [str(word) for pair in given.items() for word in pair]
    file = str(Path(__file__).with_name("locustfile.py"))
    return [sys.executable, "-m", "locust", "-f", file, USERS[plan.mix], "--headless", "--only-summary", *words]


def by_open_arrivals(url: str, plan: Plan, *, rate: float, connections: int) -> Arrivals:
    """Send ``rate`` requests a second on average to ``url`` of this machine, come what may."""
    arrivals = schedule(Traffic(plan.seed), MIXES[plan.mix], rate=rate, seconds=plan.shape.seconds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(drive(url, arrivals, connections=connections))
