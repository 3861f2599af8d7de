"""Tables, ratios, JSON and a plot of what `benchmarks.service` measured."""

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from benchmarks.ceiling import Ceiling
from tools.servers import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def report(summary: dict[str, Any], *, loaded: str) -> None:
    """Print everything and write service.json and service.png below benchmarks/results. ``loaded``: the load compared."""
    lines = [*_tables(summary), *_ratios(summary, loaded)]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "service.md").write_text("\n".join(lines) + "\n")
    (RESULTS / "service.json").write_text(json.dumps(summary, indent=1, default=_plain) + "\n")
    _plot(summary, loaded, RESULTS / "service.png")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value)} in the results")


def _tables(summary: dict[str, Any]) -> list[str]:
    machine = summary["machine"]
    head = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, revision {machine['revision']}; "
        f"load average at the end {machine['load_average'][0]:.1f}"
    )
    lines = [
        head,
        "",
        "| ceiling, in process | images/s (batch x callers) | texts/s | a lone image, ms | text |",
        "|---|---|---|---|---|",
    ]
    for name, found in summary["ceilings"].items():
        lone = " | ".join(f"{found[kind].lone:.1f}" for kind in ("image", "text"))
        lines.append(f"| {name} | {_at(found['image'])} | {_at(found['text'])} | {lone} |")
    for kind in ("image", "text"):
        lines += [
            "",
            f"| {kind}s | load | a second | p50 ms | p95 | p99 | not 200 | cores busy |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, kinds in summary["rates"].items():
            for load, figures in kinds[kind].items():
                busy = " ".join(f"{role} {cores:.2f}" for role, cores in figures.cores.items() if cores >= 0.01)
                lines.append(
                    f"| {name} | {load} | {figures.rate:.1f} | {figures.p50:.1f} | {figures.p95:.1f} | "
                    f"{figures.p99:.1f} | {figures.failed} | {busy} |"
                )
    lines += ["", "| memory, MB (PSS) | all | by process |", "|---|---|---|"]
    for name, roles in summary["memory"].items():
        each = " ".join(f"{role} {size:.0f}" for role, size in roles.items())
        lines.append(f"| {name} | {sum(roles.values()):.0f} | {each} |")
    return lines


def _at(found: Ceiling) -> str:
    return f"{found.rate:.1f} ({found.way.batch} x {found.way.callers})"


def _ratios(summary: dict[str, Any], loaded: str) -> list[str]:
    rates, baselines = summary["rates"], summary["baselines"]
    columns = ["images / ceiling", "images / best baseline", "texts / ceiling", "texts / best baseline"]
    columns += ["lone image / best baseline", "/ in process", "lone text / best baseline", "/ in process"]
    columns += ["image p99/p50 at 70 %", "text"]
    lines = ["", f"| ratios, {loaded} clients | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in rates:
        if name in baselines:
            continue
        runtime = max((each for each in summary["ceilings"] if name.startswith(each)), key=len)
        ceiling = summary["ceilings"][runtime]
        cells = []
        for kind in ("image", "text"):
            rate = rates[name][kind][loaded].rate
            best = max(rates[baseline][kind][loaded].rate for baseline in baselines)
            cells += [f"{rate / ceiling[kind].rate:.2f}", f"{rate / best:.1f}"]
        for kind in ("image", "text"):
            lone, least = rates[name][kind]["1"].p50, min(rates[baseline][kind]["1"].p50 for baseline in baselines)
            cells += [f"{lone / least:.2f}", f"{lone / ceiling[kind].lone:.2f}"]
        opened = [rates[name][kind].get("open") for kind in ("image", "text")]
        cells += [f"{found.p99 / found.p50:.1f}" if found else "" for found in opened]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _plot(summary: dict[str, Any], loaded: str, path: Path) -> None:
    from matplotlib.figure import Figure

    rates = summary["rates"]
    figure = Figure(figsize=(11, 7), layout="constrained")
    for row, kind in enumerate(("image", "text")):
        speed, latency = figure.add_subplot(2, 2, 2 * row + 1), figure.add_subplot(2, 2, 2 * row + 2)
        names = [*rates]
        speed.barh(names, [rates[name][kind][loaded].rate for name in names])
        for (runtime, found), style in zip(summary["ceilings"].items(), ("--", ":", "-."), strict=False):
            speed.axvline(found[kind].rate, linestyle=style, color="black", label=f"ceiling, {runtime}")
        speed.set_xlabel(f"{kind}s a second, {loaded} clients")
        latency.barh(names, [rates[name][kind]["1"].p50 for name in names])
        latency.set_xlabel(f"a lone {kind}, median ms")
        latency.set_yticklabels([])
        speed.invert_yaxis()
        latency.invert_yaxis()
        speed.legend(fontsize="small", loc="lower right")  # where the baselines leave room
    figure.savefig(path, dpi=110)
