"""What is left of a run: a transcript, a plot, and what came of the requests, phase by phase."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.autoscaling.driver import Course
from loadtests.autoscaling.phases import starts
from loadtests.recording import Recorder, Tally

_INCHES = (10, 9)
_DPI = 80
_AROUND = 2
"""Percentiles of a second are over so many seconds before and after it, too: few requests come in one."""


def phases(course: Course) -> list[dict[str, Any]]:
    """A row for each phase: what was sent in it, what came of that, and how many encoders were ready."""
    edges = pairwise(starts(course.setting.phases))
    return [_row(course, str(phase), edge) for phase, edge in zip(course.setting.phases, edges, strict=True)]


def _row(course: Course, name: str, edge: tuple[float, float]) -> dict[str, Any]:
    tally = course.arrivals.corrected.total(seconds=lambda second: edge[0] <= second < edge[1])
    within = [moment for moment in course.moments if edge[0] <= moment.second < edge[1]]
    loads = [moment.load for moment in within if moment.load is not None]
    return {
        "phase": name,
        "sent": tally.ok + tally.shed + tally.failed,
        "200": tally.ok,
        "429": tally.shed,
        "failed": dict(tally.faults),
        "p50_ms": _milliseconds(tally, 0.5),
        "p99_ms": _milliseconds(tally, 0.99),
        "slowest_ms": _milliseconds(tally, 1.0),
        "mean_in_flight": round(sum(loads) / len(loads), 1) if loads else None,
        "desired": _range([moment.desired for moment in within]),
        "ready": _range([moment.ready for moment in within]),
    }


def _milliseconds(tally: Tally, share: float) -> float | None:
    return round(tally.latencies.percentile(share) * 1000, 1) if tally.ok else None


def _range(counts: Sequence[int]) -> str:
    if not counts:
        return "-"
    return f"{min(counts)} to {max(counts)}, {counts[-1]} in the end"


def lines(course: Course) -> list[str]:
    """What is printed at the end."""
    rows = phases(course)
    head = list(rows[0])
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    table += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    total = course.arrivals.corrected.total()
    there, elsewhere = course.again
    return [
        *table,
        "",
        f"{total.ok} requests answered as they should be, {total.shed} shed with 429, {total.failed} failed",
        *(f"{count} times: {fault}" for fault, count in total.faults.most_common()),
        f"the balancer tried again {there} times at the same encoder, {elsewhere} times at another",
        *(f"fault: {fault}" for fault in course.faults),
    ]


def _cell(value: object) -> str:
    if value == {}:
        return "0"
    return (
        "; ".join(f"{count} times {what}" for what, count in value.items()) if isinstance(value, dict) else str(value)
    )


def write(course: Course, folder: Path) -> None:
    """Write transcript.txt, autoscaling.json and autoscaling.png into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transcript.txt").write_text("\n".join([*course.lines, "", *lines(course)]) + "\n")
    summary = {
        "rule": asdict(course.setting.rule),
        "rate": course.setting.rate,
        "seed": course.setting.seed,
        "again": course.setting.again,
        "phases": phases(course),
        "faults": course.faults,
        "sent_again": course.again,
        "moments": [asdict(moment) for moment in course.moments],
        "seconds": course.arrivals.corrected.as_json(),
    }
    (folder / "autoscaling.json").write_text(json.dumps(summary, indent=1) + "\n")
    plot(course, folder / "autoscaling.png")


def plot(course: Course, path: Path) -> None:
    """Rate, what is in flight, encoders, latencies and failures over time; lines where phases begin."""
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    rate, load, encoders, latency, failed = figure.subplots(5, 1, sharex=True, height_ratios=(2, 3, 3, 3, 1.5))
    edges = starts(course.setting.phases)
    offered = [course.setting.rate * phase.factor for phase in course.setting.phases]
    rate.step(edges, [*offered, offered[-1]], where="post")
    rate.set_ylabel("requests/s")
    _plot_decisions(course, load, encoders)
    _plot_answers(course.arrivals.corrected, latency, failed)
    failed.set_xlabel("second of the run")
    for axes in (rate, load, encoders, latency, failed):
        axes.set_ylim(bottom=0)
        for edge in edges[1:-1]:
            axes.axvline(edge, color="grey", linewidth=0.7, linestyle=":")
    for edge, phase in zip(edges, course.setting.phases, strict=False):
        rate.annotate(str(phase), (edge, 1.02), xycoords=("data", "axes fraction"), fontsize="small")
    figure.savefig(path)


def _plot_decisions(course: Course, load: Axes, encoders: Axes) -> None:
    moments, rule = course.moments, course.setting.rule
    seconds = [moment.second for moment in moments]
    load.plot(seconds, [math.nan if moment.load is None else moment.load for moment in moments], label="in flight, all")
    load.step(
        seconds,
        [rule.target * moment.ready for moment in moments],
        "--",
        where="post",
        label=f"{rule.target:g} in each that is ready",
    )
    load.set_ylabel("items")
    load.legend(fontsize="small", loc="upper left")
    encoders.step(seconds, [moment.desired for moment in moments], where="post", label="desired")
    encoders.step(seconds, [moment.ready for moment in moments], where="post", label="ready")
    encoders.step(seconds, [moment.starting for moment in moments], ":", where="post", label="starting")
    encoders.set_ylabel("encoders")
    encoders.legend(fontsize="small", loc="upper left")


def _plot_answers(recorder: Recorder, latency: Axes, failed: Axes) -> None:
    timeline = list(recorder.timeline())
    around = [Tally() for _ in timeline]
    for tally, (second, _) in zip(around, timeline, strict=True):
        for _, near in timeline[max(0, second - _AROUND) : second + _AROUND + 1]:
            tally.merge(near)
    seconds = [second for second, _ in timeline]
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        latency.plot(seconds, [tally.latencies.percentile(share) * 1000 for tally in around], label=name)
    latency.set_ylabel("ms")
    latency.legend(fontsize="small", loc="upper left")
    failed.step(seconds, [tally.failed for _, tally in timeline], where="mid", color="C3", label="failed")
    failed.step(seconds, [tally.shed for _, tally in timeline], where="mid", color="C1", label="429")
    failed.set_ylabel("a second")
    failed.set_ylim(top=max(1, *(tally.failed + tally.shed for _, tally in timeline)))
    failed.legend(fontsize="small", loc="upper left")
