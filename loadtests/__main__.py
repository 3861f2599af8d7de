"""Load on the service: `python -m loadtests run`, `knee`, `autoscale` and `plan`.

`run` judges by objectives, `knee` finds where the service is full, `autoscale` has encoders come and go with the load, and `plan`
says how many a rate takes.

Without --url it starts the service itself, with the bundled model, in folders of its own. With it, load goes to a service
of this machine only, and leaves some items of its own there, whose ids begin with `loadtest-`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import httpx

from loadtests import knee, options, planning, plots, report, slo
from loadtests.autoscaling import command as autoscaling
from loadtests.autoscaling.haproxy import Refused
from loadtests.growth import Growth
from loadtests.running import Plan, RunFailed, by_locust, by_open_arrivals
from loadtests.shapes import FACTORS, Shape
from loadtests.targets import local_target, target
from loadtests.traffic import MIXES
from tools.servers import ROOT, end_as_if_interrupted

RESULTS = ROOT / "loadtests" / "results"
MOST_USERS = 256
MOST_SECONDS = 86_400
MOST_RATE = 5000.0
MOST_STEP_SECONDS = 60
MOST_LEAK = 10_000
SOAK = "soak"
BREACH, FAULT = 1, 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="send load, judge it by the objectives; status 1 where one is missed")
    _add_run(run)
    found = commands.add_parser("knee", help="find how many requests in flight fill the service")
    _add_knee(found)
    for command, mix in ((run, "mixed"), (found, "search")):
        command.add_argument("--mix", choices=sorted(MIXES), default=mix, help=f"what users ask; default {mix}")
        command.add_argument(
            "--url", type=options.checked(local_target), help="a running service of this machine: http://127.0.0.1:PORT"
        )
        command.add_argument("--seed", type=options.seed, default=0, help="of what is asked, and of when")
        command.add_argument(
            "--out", type=Path, help="folder of the results; default: one of its own in loadtests/results"
        )
    scaled = commands.add_parser(
        "autoscale", help="scale encoders behind HAProxy by the rule of deploy/; status 1 where a request failed"
    )
    autoscaling.add_arguments(scaled, RESULTS)
    _add_plan(commands.add_parser("plan", help="how many replicas a rate takes and what that costs, by formulas"))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", choices=sorted(FACTORS), default="steady", help="how the number of users changes")
    parser.add_argument(
        "--seconds", type=options.number("number of seconds", 1, MOST_SECONDS), default=60.0, help="length of the run"
    )
    parser.add_argument(
        "--users",
        type=options.whole("number of users", 1, MOST_USERS),
        help="users at the nominal load, each with a request in flight all the time; default: the objectives' share of the knee",
    )
    parser.add_argument(
        "--open", action="store_true", help="arrivals at random, whether or not earlier ones were answered"
    )
    parser.add_argument(
        "--rate",
        type=options.number("number of arrivals a second", 0.1, MOST_RATE),
        help="arrivals a second; default: as for --users",
    )
    parser.add_argument(
        "--connections",
        type=options.whole("number of connections", 1, MOST_USERS),
        default=64,
        help="most in flight, with --open",
    )
    parser.add_argument(
        "--leak",
        type=options.whole("number of bytes", 0, MOST_LEAK),
        default=0,
        help="plant a fault: the service keeps so many bytes of each request, which a soak must find",
    )
    parser.add_argument("--slo", type=Path, default=slo.DEFAULT, help="file of the objectives")


def _add_knee(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=options.number("number of seconds", 1, MOST_STEP_SECONDS),
        default=4.0,
        help="of a step in a round",
    )
    parser.add_argument(
        "--rounds",
        type=options.whole("number of rounds", 1, 20),
        default=3,
        help="times each step is measured, in turns",
    )
    parser.add_argument(
        "--most",
        type=options.whole("number of requests", 1, knee.STEPS[-1]),
        default=96,
        help="requests in flight at most",
    )


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=options.number("number of items a second", 0.001, 1e7),
        required=True,
        help="items (texts, pictures) a second",
    )
    parser.add_argument(
        "--service-ms",
        type=options.number("number of milliseconds", 0.001, 1e6),
        required=True,
        help="time of a batch, ms",
    )
    parser.add_argument(
        "--batch", type=options.whole("number of items", 1, 4096), default=1, help="items in a batch; default 1"
    )
    parser.add_argument("--price", type=options.number("price", 0, 1e6), default=1.0, help="of a replica an hour")
    parser.add_argument(
        "--variation", type=options.number("number", 0, 100), default=0.0, help="squared, of the time of a batch"
    )
    parser.add_argument(
        "--utilisation", type=options.number("share", 0.01, 0.99), default=0.7, help="at most, of a replica"
    )
    parser.add_argument(
        "--wait-ms",
        type=options.number("number of milliseconds", 0.001, 1e6),
        default=100.0,
        help="99 of 100 wait at most so long",
    )
    parser.add_argument(
        "--spare", type=options.whole("number of replicas", 0, 100), default=0, help="replicas more than that"
    )


def find_plan(given: argparse.Namespace) -> int:
    """Print how many replicas are needed. Raises ``ValueError`` where that is beyond reason."""
    demand = planning.Demand(given.rate, given.service_ms / 1000, given.batch, given.variation)
    found = planning.plan(demand, utilisation=given.utilisation, wait=given.wait_ms / 1000, spare=given.spare)
    print("\n".join(planning.table(demand, list(found), utilisation=given.utilisation, price=given.price)))
    return 0


def run(given: argparse.Namespace) -> int:
    """Send load and judge it; returns the exit status. Raises ``ValueError`` for options that contradict each other."""
    if given.open and (given.users or given.shape != "steady"):
        raise ValueError("--open has arrivals at one --rate: no --users, and no other --shape than steady")
    if given.rate and not given.open:
        raise ValueError("--rate is of --open arrivals")
    if given.leak and given.url:
        raise ValueError("--leak is of a service that is started for the run: no --url")
    objectives = _objectives(given.slo)
    rate = given.rate or (objectives.rate(given.mix) if given.open else 0.0)
    nominal = max(1, round(rate)) if given.open else given.users or objectives.users(given.mix)
    plan = Plan(given.mix, Shape(given.shape, nominal, given.seconds), given.seed)
    what, load = ("open", f"{rate:.1f} arrivals a second") if given.open else (given.shape, f"{nominal} users")
    title = f"{given.mix}, {what}, {given.seconds:g} s, {load}"
    folder = given.out or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{given.mix}-{what}"
    print(title, flush=True)
    with target(given.url, leak=given.leak) as served, Growth.watched(served.pid) as growth:
        if given.open:
            arrivals = by_open_arrivals(served.url, plan, rate=rate, connections=given.connections)
            recorder, naive = arrivals.corrected, arrivals.naive
        else:
            recorder, naive = by_locust(served.url, plan, folder), None
    axis = "arrivals a second" if given.open else "users"
    checks = slo.judge(objectives, recorder, plan.shape)
    if given.shape == SOAK:
        whole = recorder.total()
        rate = (whole.ok + whole.shed + whole.failed) / given.seconds
        checks += growth.checks(rate, objectives.leak_bytes)
    done = report.Run(title, axis, plan.shape, recorder, checks, naive, growth)
    report.write(done, folder)
    print("\n".join([*report.lines(done), f"report: {folder / 'report.html'}"]))
    return 0 if done.kept else BREACH


def _objectives(path: Path) -> slo.Slo:
    """Of the file, with the knees that were measured last on this machine if any were."""
    objectives = slo.load_slo(path)
    if path != slo.DEFAULT:
        return objectives
    last = {mix: RESULTS / f"knee-{mix}.json" for mix in MIXES}
    measured = {
        mix: slo.Knee.model_validate(json.loads(file.read_text())["knee"])
        for mix, file in last.items()
        if file.is_file()
    }
    return objectives.model_copy(update={"knee": objectives.knee | measured})


def find_knee(given: argparse.Namespace) -> int:
    """Measure the knee, print the table and keep it."""
    with target(given.url) as served:
        steps = knee.measure(
            served.url, mix=given.mix, seconds=given.seconds, most=given.most, rounds=given.rounds, seed=given.seed
        )
    print("\n".join(knee.table(steps)))
    folder = given.out or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    plots.plot_knee(steps, folder / f"knee-{given.mix}.png")
    found = knee.knee(steps)
    summary = {
        "mix": given.mix,
        "knee": {
            "in_flight": found.in_flight,
            "goodput": found.goodput,
            "users": knee.knee(steps, knee.ROOM).in_flight,
        },
        "steps": [asdict(step) for step in steps],
    }
    (folder / f"knee-{given.mix}.json").write_text(json.dumps(summary, indent=1) + "\n")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "knee": find_knee,
    "autoscale": autoscaling.run,
    "plan": find_plan,
}


def _one_line(error: Exception, given: argparse.Namespace) -> str:
    """What went wrong, for whoever gave the options."""
    if isinstance(error, httpx.HTTPError):
        return f"{getattr(given, 'url', None) or 'the service'} does not answer: {str(error) or type(error).__name__}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def main(words: Sequence[str] | None = None) -> None:
    """Run a command and exit; status 1 where an objective was missed, 2 where nothing could be measured."""
    given = _parser().parse_args(words)
    try:
        status = COMMANDS[given.command](given)
    except (RunFailed, Refused, RuntimeError, TimeoutError, ValueError, OSError, httpx.HTTPError) as error:
        print(_one_line(error, given), file=sys.stderr)
        status = FAULT
    sys.exit(status)


if __name__ == "__main__":
    end_as_if_interrupted()
    main()
