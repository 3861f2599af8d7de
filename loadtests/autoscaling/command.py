"""`python -m loadtests autoscale`: the run, and what is kept of it."""

import argparse
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from loadtests import options
from loadtests.autoscaling import driver, phases, report
from loadtests.autoscaling.manifest import Rule, read_rule

SPEED = 15.0
RATE = 4.0
MOST_SPEED, MOST_RATE, MOST_TARGET = 1000.0, 1000.0, 10_000.0
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser, results: Path) -> None:
    """The command's options."""
    parser.add_argument(
        "--phases",
        type=options.checked(phases.parse),
        default=phases.DEFAULT,
        help=f"FACTORxSECONDS, some with :update (a rolling update) or :kill (SIGKILL to an encoder); default {phases.DEFAULT!r}",
    )
    parser.add_argument(
        "--rate",
        type=options.number("number of requests a second", 0.01, MOST_RATE),
        default=RATE,
        help="requests a second where the factor is 1",
    )
    parser.add_argument(
        "--speed",
        type=options.number("factor", 1, MOST_SPEED),
        default=SPEED,
        help="how much faster the rule's clocks run than in the manifest",
    )
    parser.add_argument(
        "--target",
        type=options.number("number of items in flight", 0.1, MOST_TARGET),
        help="items in flight in each encoder; default: the manifest's threshold",
    )
    parser.add_argument("--least", type=_least, help="encoders at least; default: the manifest's")
    parser.add_argument("--once", action="store_true", help="the balancer sends nothing again: what that is good for")
    parser.add_argument("--seed", type=options.seed, default=0, help="of what is asked, and of when")
    parser.add_argument("--out", type=Path, help="folder of the results; default: one of its own in loadtests/results")
    parser.set_defaults(results=results)


def run(given: argparse.Namespace) -> int:
    """Run it and report; the status is 1 where a request failed or an encoder did not do as it should.

    Raises ``Refused`` or ``RuntimeError`` where it cannot begin.
    """
    setting = driver.Setting(_rule(given), given.phases, given.rate, given.seed, again=not given.once)
    folder = given.out or given.results / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-autoscale"
    with tempfile.TemporaryDirectory(prefix="autoscale-") as work:
        course = driver.run(setting, Path(work))
        _keep_logs(Path(work), folder / "logs")
    report.write(course, folder)
    print("\n".join([*report.lines(course), f"report: {folder / 'autoscaling.png'}"]))
    return FAILED if course.faults or course.arrivals.corrected.total().failed else 0


def _keep_logs(work: Path, folder: Path) -> None:
    """What each process said, as a file with its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in work.rglob("*.log"):
        shutil.copyfile(log, folder / f"{log.parent.name}.log")


def _least(text: str) -> int:
    return options.whole("number of encoders", 1, read_rule().most)(text)


def _rule(given: argparse.Namespace) -> Rule:
    rule = read_rule().faster(given.speed)
    if given.target is not None:
        rule = replace(rule, target=given.target)
    if given.least is not None:
        rule = replace(rule, least=given.least)
    return rule
