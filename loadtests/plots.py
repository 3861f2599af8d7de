"""Plots of a run and of a knee, as PNG files."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from loadtests.growth import Growth
from loadtests.knee import Step, knee
from loadtests.recording import Recorder
from loadtests.shapes import Shape

_INCHES = (10, 7)
_DPI = 100
_SHARES = [1 - 10 ** (-step / 20) for step in range(61)]
"""From none to 999 of 1000, denser towards the tail."""


def plot_timeline(recorder: Recorder, shape: Shape, load: str, path: Path) -> None:
    """Load, answers a second and latencies over time; the seconds that are not judged are shaded. ``load``: of the axis."""
    timeline = list(recorder.timeline())
    seconds = [second for second, _ in timeline]
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    users, answers, latency = figure.subplots(3, 1, sharex=True)
    users.step(seconds, [shape.at(second) or 0 for second in seconds], where="post")
    users.set_ylabel(load)
    answers.plot(seconds, [tally.ok for _, tally in timeline], label="as documented")
    answers.plot(seconds, [tally.shed for _, tally in timeline], label="429")
    answers.plot(seconds, [tally.failed for _, tally in timeline], label="failed")
    answers.set_ylabel("answers to what was sent, /s")
    answers.legend(fontsize="small")
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        latency.plot(seconds, [tally.latencies.percentile(share) * 1000 for _, tally in timeline], label=name)
    latency.set_ylabel("ms")
    latency.set_xlabel("second of the run")
    latency.legend(fontsize="small")
    for axes in (users, answers, latency):
        axes.set_ylim(bottom=0)
        beyond = [not shape.is_judged(second) for second in seconds]
        across = axes.get_xaxis_transform()
        axes.fill_between(seconds, 0, 1, where=beyond, step="post", transform=across, color="grey", alpha=0.15)
    figure.savefig(path)


def plot_latencies(recorders: dict[str, Recorder], path: Path) -> None:
    """Which share of the answers takes longer than what, by kind; of several recorders, each in a style of its own."""
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for (name, recorder), style in zip(recorders.items(), ("-", ":"), strict=False):
        for number, kind in enumerate(recorder.kinds()):
            latencies = recorder.total(kind).latencies
            found = [latencies.percentile(share) * 1000 for share in _SHARES]
            if not math.isnan(found[0]):
                label = f"{kind} {name}".strip()
                axes.plot(found, [1 - share for share in _SHARES], style, color=f"C{number}", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("ms")
    axes.set_ylabel("share of answers that take longer")
    if axes.lines:
        axes.legend(fontsize="small")
    figure.savefig(path)


def plot_growth(growth: Growth, path: Path) -> None:
    """Memory, open files and threads of the service over time; what is not judged is shaded."""
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    memory, files, threads = figure.subplots(3, 1, sharex=True)
    seconds = [sample.second for sample in growth.samples]
    memory.plot(seconds, [sample.rss / 1e6 for sample in growth.samples], color="grey", label="with pages of files")
    memory.plot(seconds, [sample.own / 1e6 for sample in growth.samples], label="of its own, which is judged")
    memory.legend(fontsize="small")
    files.plot(seconds, [sample.files for sample in growth.samples])
    threads.plot(seconds, [sample.threads for sample in growth.samples])
    threads.set_xlabel("second of the run")
    warm = growth.warm()
    for axes, what in ((memory, "resident, MB"), (files, "open files"), (threads, "threads")):
        axes.set_ylabel(what)
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])  # room above a line that is flat
        if warm:
            axes.axvspan(0, warm[0].second, color="grey", alpha=0.15)
    figure.savefig(path)


def plot_knee(steps: Sequence[Step], path: Path) -> None:
    """Goodput and 99th percentile against requests in flight."""
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    goodput, latency = figure.subplots(2, 1, sharex=True)
    counts = [step.in_flight for step in steps]
    goodput.plot(counts, [step.goodput for step in steps], "o-")
    goodput.set_ylabel("answers of 200 a second")
    latency.plot(counts, [step.p50 for step in steps], "o-", label="p50")
    latency.plot(counts, [step.p99 for step in steps], "o-", label="p99")
    latency.set_ylabel("ms")
    latency.set_xlabel("requests in flight")
    latency.legend(fontsize="small")
    latency.set_xscale("log", base=2)
    for axes in (goodput, latency):
        axes.set_ylim(bottom=0)
        axes.axvline(knee(steps).in_flight, linestyle=":", color="black")
    figure.savefig(path)
