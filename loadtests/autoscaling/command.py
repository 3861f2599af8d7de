"""`python -m loadtests autoscale`: the run, and what is kept of it."""

import argparse
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from loadtests.autoscaling import driver, phases, report
from loadtests.autoscaling.manifest import Rule, read_rule

SPEED = 15.0
RATE = 4.0
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser, results: Path) -> None:
    """The command's options."""
    parser.add_argument(
        "--phases",
        default=phases.DEFAULT,
        help=f"FACTORxSECONDS, some with :update (a rolling update) or :kill (SIGKILL to an encoder); default {phases.DEFAULT!r}",
    )
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second where the factor is 1")
    parser.add_argument(
        "--speed", type=float, default=SPEED, help="how much faster the rule's clocks run than in the manifest"
    )
    parser.add_argument(
        "--target", type=float, help="items in flight in each encoder; default: the manifest's threshold"
    )
    parser.add_argument("--least", type=int, help="encoders at least; default: the manifest's")
    parser.add_argument("--once", action="store_true", help="the balancer sends nothing again: what that is good for")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked, and of when")
    parser.add_argument("--out", type=Path, help="folder of the results; default: one of its own in loadtests/results")
    parser.set_defaults(results=results)


def run(given: argparse.Namespace) -> int:
    """Run it and report; the status is 1 where a request failed or an encoder did not do as it should.

    Raises ``Refused`` or ``RuntimeError`` where it cannot begin, ``ValueError`` for options that make no sense.
    """
    rule = _rule(given)
    if not (0 < given.rate <= 1000 and 1 <= given.speed <= 1000):  # noqa: PLR2004 -- bounds, named in the message
        raise ValueError("--rate is above 0 and up to 1000, --speed from 1 to 1000")
    setting = driver.Setting(rule, phases.parse(given.phases), given.rate, given.seed, again=not given.once)
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


def _rule(given: argparse.Namespace) -> Rule:
    rule = read_rule().faster(given.speed)
    if given.target is not None:
        rule = replace(rule, target=given.target)
    if given.least is not None:
        rule = replace(rule, least=given.least)
    if not (rule.target > 0 and 1 <= rule.least <= rule.most):
        raise ValueError(f"--target is above 0, --least from 1 to {rule.most}")
    return rule
