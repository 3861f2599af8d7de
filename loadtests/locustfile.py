"""What locust loads: `locust -f loadtests/locustfile.py SearchHeavy --host http://127.0.0.1:3000` shows its own page.

`python -m loadtests run` runs it without the page, and judges what ``--record`` wrote.
"""

import json
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.env import Environment

from loadtests.recording import Recorder
from loadtests.shapes import FACTORS, Shape
from loadtests.traffic import Kind, Traffic
from loadtests.users import Mixed, SearchHeavy, UploadHeavy, Visitor

__all__ = ["Mixed", "SearchHeavy", "Shaped", "UploadHeavy"]

SPAWNED_A_SECOND = 100


class Shaped(LoadTestShape):
    """Users as `loadtests.shapes` says."""

    def tick(self) -> tuple[int, float] | None:
        """Users now, and how many may come or go a second; None ends the run."""
        given = _options(self.runner.environment) if self.runner else None
        if given is None:
            return None
        users = Shape(given.shape, given.nominal_users, given.seconds).at(self.get_run_time())
        return None if users is None else (users, SPAWNED_A_SECOND)


def _options(environment: Environment) -> Namespace | None:
    return environment.parsed_options


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--shape", choices=sorted(FACTORS), default="steady", help="how the load changes")
    parser.add_argument("--nominal-users", type=int, default=4, help="users at the nominal load")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the run")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked")
    parser.add_argument("--record", default="", help="file that gets what came, as JSON")


def _prepare(environment: Environment, **_: Any) -> None:
    """Make what is asked before any clock runs: it takes most of a second."""
    given = _options(environment)
    Visitor.traffic = Traffic(given.seed if given else 0)


def _start(environment: Environment, **_: Any) -> None:
    """Count from here; what came is written when all have stopped."""
    given = _options(environment)
    if given is None:
        return
    recorder, began = Recorder(), time.time()

    def count(name: str, response_time: float, exception: Exception | None, start_time: float, **_: Any) -> None:
        recorder.add(Kind(name), start_time - began, response_time / 1000, str(exception) if exception else None)

    def write(**_: Any) -> None:
        environment.events.request.remove_listener(count)
        environment.events.test_stop.remove_listener(write)
        if given.record:
            Path(given.record).write_text(json.dumps(recorder.as_json()), encoding="utf-8")

    environment.events.request.add_listener(count)
    environment.events.test_stop.add_listener(write)


events.init_command_line_parser.add_listener(_arguments)
events.init.add_listener(_prepare)
events.test_start.add_listener(_start)
