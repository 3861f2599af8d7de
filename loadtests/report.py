"""What is left of a run: a page, plots and JSON in a folder of its own."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from loadtests.growth import Growth
from loadtests.plots import plot_growth, plot_latencies, plot_timeline
from loadtests.recording import Recorder, Tally
from loadtests.shapes import Shape
from loadtests.slo import Check

_STYLE = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left}img{max-width:100%}.MISSED{color:#b00}"


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over: what was asked for, what came and what was made of it.

    ``naive``: of an open run, the same with latencies from when requests were sent instead of when they were due.
    ``growth``: what the service's processes took all along.
    """

    title: str
    load: str
    shape: Shape
    recorder: Recorder
    checks: Sequence[Check]
    naive: Recorder | None = None
    growth: Growth = field(default_factory=Growth)

    @property
    def kept(self) -> bool:
        """Whether no objective was missed."""
        return all(check.kept is not False for check in self.checks)


def verdict(check: Check) -> str:
    """A word for it."""
    return {True: "kept", False: "MISSED", None: "too few"}[check.kept]


def lines(run: Run) -> list[str]:
    """What is printed: a line for each objective and each fault that came, and what stalls hid from naive latencies."""
    checks = [f"{verdict(each):8} {each.what:24} {each.allowed:24} {each.measured}" for each in run.checks]
    found = checks + [f"{count} times: {fault}" for fault, count in run.recorder.total().faults.most_common()]
    if run.naive is not None:
        due, sent = (each.total().latencies.percentile(0.99) * 1000 for each in (run.recorder, run.naive))
        found.append(f"p99 of all: {due:.1f} ms from when they were due, {sent:.1f} ms from when they were sent")
    return found


def write(run: Run, folder: Path) -> None:
    """Write report.html, report.json and the plots it shows into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    plot_timeline(run.recorder, run.shape, run.load, folder / "timeline.png")
    recorders = {"": run.recorder} if run.naive is None else {"from due": run.recorder, "from sent": run.naive}
    plot_latencies(recorders, folder / "latencies.png")
    plot_growth(run.growth, folder / "growth.png")
    (folder / "report.json").write_text(json.dumps(_summary(run), indent=1) + "\n")
    (folder / "report.html").write_text(_page(run, has_locust=(folder / "locust.html").is_file()))


def kinds(run: Run) -> list[dict[str, Any]]:
    """A row for each kind: counts over the whole run, milliseconds of what was answered as documented."""
    return [_row(kind, run.recorder.total(kind)) for kind in run.recorder.kinds()]


def _row(kind: str, tally: Tally) -> dict[str, Any]:
    shares = (0.5, 0.95, 0.99)
    p50, p95, p99 = (round(tally.latencies.percentile(share) * 1000, 1) if tally.ok else None for share in shares)
    counts = {"answered": tally.ok, "shed": tally.shed, "failed": tally.failed, "faults": dict(tally.faults)}
    return {"kind": kind, **counts, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def _summary(run: Run) -> dict[str, Any]:
    return {
        "title": run.title,
        "shape": asdict(run.shape),
        "kept": run.kept,
        "checks": [asdict(check) for check in run.checks],
        "kinds": kinds(run),
        "seconds": run.recorder.as_json(),
        "growth": [asdict(sample) for sample in run.growth.samples],
    }


def _page(run: Run, *, has_locust: bool) -> str:
    rows = [(verdict(check), check.what, check.allowed, check.measured) for check in run.checks]
    found = kinds(run)
    more = '<p><a href="locust.html">locust\'s own report</a></p>' if has_locust else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(run.title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(run.title)}</h1><h2>Objectives: {'kept' if run.kept else 'missed'}</h2>"
        f"{_table(('', 'objective', 'allowed', 'measured'), rows)}<h2>Over the whole run</h2>"
        f"{_table(tuple(found[0]) if found else (), [tuple(row.values()) for row in found])}"
        '<h2>Over time</h2><img src="timeline.png" alt="load, answers and latencies by second">'
        f'<h2>Latencies</h2><img src="latencies.png" alt="share of answers that take longer">'
        f'<h2>Processes</h2><img src="growth.png" alt="memory, open files and threads over time">{more}</html>\n'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = "".join(
        f'<tr class="{escape(str(row[0]))}">'
        + "".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{lines}</table>"
