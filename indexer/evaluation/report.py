"""The table on stdout and the JSON file."""

from collections.abc import Iterator, Mapping
from typing import Any

from crossmodal.clip.base import ModelInfo
from crossmodal.search.metrics import Estimate
from indexer.evaluation.results import Measured, Scores, quantiles

Results = Mapping[str, Mapping[str, Estimate]]

_WIDTH = 21
_GIVEN = ("pictures", "captions", "queries")
_SHARES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def table(measured: Measured, results: Results, model: ModelInfo) -> Iterator[str]:
    """Lines for a reader: what was measured, a row for each metric and a column for each direction."""
    yield f"model {model.name}, {model.precision} on {model.device}; {measured.how}"
    yield ", ".join(_said(measured.counts))
    yield ""
    yield f"{'':12}" + "".join(f"{name:>{_WIDTH}}" for name in results)
    for name in next(iter(results.values())):
        cells = (f"{each[name].mean:.3f} ({each[name].low:.3f}-{each[name].high:.3f})" for each in results.values())
        yield f"{name:12}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)
    for label, sizes in {
        "queries": [len(each.judged) for each in measured.directions.values()],
        "searched": [each.searched for each in measured.directions.values()],
    }.items():
        yield f"{label:12}" + "".join(f"{size:>{_WIDTH}}" for size in sizes)
    yield ""
    yield "in brackets: 95 % of bootstrap resamples of the queries"
    if measured.scores is not None:
        for label, values in _scores(measured.scores).items():
            yield f"cosines of {label}: " + ", ".join(f"{share} {value:.3f}" for share, value in values.items())


def _said(counts: Mapping[str, int]) -> Iterator[str]:
    """What was given and measured, and what else there is any of."""
    for name in counts:
        if name in _GIVEN:
            yield f"{counts[f'{name}_measured']} of {counts[name]} {name} measured"
        elif not name.endswith("_measured") and counts[name]:
            yield f"{counts[name]} {name.replace('_', ' ')}"


def document(measured: Measured, results: Results, model: ModelInfo, **about: Any) -> dict[str, Any]:
    """The same and more as a JSON object; ``about`` are further members."""
    directions = {
        name: {
            "queries": len(direction.judged),
            "searched": direction.searched,
            "depth": direction.depth,
            "metrics": {
                metric: {"mean": each.mean, "low": each.low, "high": each.high}
                for metric, each in results[name].items()
            },
            "curve": direction.curve(measured.curve),
        }
        for name, direction in measured.directions.items()
    }
    return {
        "how": measured.how,
        "model": {
            "name": model.name,
            "fingerprint": model.fingerprint,
            "dim": model.dim,
            "precision": model.precision,
            "device": model.device,
        },
        "counts": dict(measured.counts),
        "directions": directions,
        "scores": None if measured.scores is None else _scores(measured.scores),
        "unreadable": [{"name": name, "reason": reason} for name, reason in measured.unreadable],
        "unknown": list(measured.unknown),
        **about,
    }


def _scores(scores: Scores) -> dict[str, dict[str, float]]:
    """Quantiles of the cosines of pairs that belong together, and of the others."""
    counted = {"matches": scores.matches, "others": scores.others}
    return {
        name: dict(zip(_SHARES, quantiles(counts, list(_SHARES.values())), strict=False))
        for name, counts in counted.items()
    }
