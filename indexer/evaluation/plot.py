"""A picture of the numbers, with matplotlib where that is installed."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.errors import ConfigurationError
from indexer.evaluation.results import Measured, Scores, centres

_INCHES = (11.0, 4.5)
_DPI = 120


def require_matplotlib() -> None:
    """Raise ``ConfigurationError`` saying how to install it if it is not there: the service does not need it."""
    try:
        import_module("matplotlib.figure")
    except ImportError:
        raise ConfigurationError(
            "--plot needs matplotlib: uv pip install matplotlib, or pip install matplotlib"
        ) from None


def draw(measured: Measured, file: Path) -> None:
    """Write a PNG: recall at every k, and how the cosines of matches and others lie. Raises ``ConfigurationError``."""
    require_matplotlib()
    figure = import_module("matplotlib.figure").Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    left, *right = figure.subplots(1, 1 if measured.scores is None else 2, squeeze=False)[0]
    _curves(left, measured)
    for axes in right:
        if measured.scores is not None:
            _distributions(axes, measured.scores)
    try:
        figure.savefig(file, format="png")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error


def _curves(axes: Any, measured: Measured) -> None:
    for name, direction in measured.directions.items():
        curve = direction.curve(measured.curve)
        axes.plot(range(1, len(curve) + 1), curve, label=f"{name} ({len(direction.judged)} queries)")
    axes.set(xlabel="k", ylabel="recall@k", ylim=(0, 1.02), title="Recall among the best k")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _distributions(axes: Any, scores: Scores) -> None:
    seen = np.flatnonzero(scores.matches + scores.others)
    for label, counts in {"matches": scores.matches, "others": scores.others}.items():
        axes.stairs(
            counts / max(1, counts.sum()),
            np.linspace(-1.0, 1.0, len(counts) + 1),
            fill=True,
            alpha=0.5,
            label=f"{label} ({counts.sum()})",
        )
    axes.set(xlabel="cosine of picture and caption", ylabel="share of the pairs", title="Scores")
    axes.set_xlim(centres()[seen[0]] - 0.02, centres()[seen[-1]] + 0.02)
    axes.legend()
