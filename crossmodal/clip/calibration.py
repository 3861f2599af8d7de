"""Reads how a model's cosines turn into relevance, where its folder says so."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from crossmodal.errors import ConfigurationError

__all__ = ["CALIBRATION_FILE", "read_calibration"]

CALIBRATION_FILE: Final = "calibration.json"
_PAIRS: Final = frozenset({"text-image", "image-text", "image-image", "text-text"})


def read_calibration(folder: Path, *, name: str) -> Mapping[str, tuple[float, float]]:
    """Midpoint and slope of the logistic curve for each pair of query and target; empty without the file.

    Raises ConfigurationError when the file is there and cannot be meant.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return {}
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))["pairs"]
        curves = {str(pair): (float(curve["midpoint"]), float(curve["slope"])) for pair, curve in pairs.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ConfigurationError(f"Model {name}: {CALIBRATION_FILE} cannot be read: {error!r}.") from error
    for pair, (midpoint, slope) in curves.items():
        if pair not in _PAIRS or not (-1 <= midpoint <= 1 and math.isfinite(slope) and slope > 0):
            raise ConfigurationError(
                f"Model {name}: {CALIBRATION_FILE} has {pair!r} with midpoint {midpoint}, slope {slope}; pairs are "
                f"{', '.join(sorted(_PAIRS))}, midpoints cosines of -1 to 1, slopes above 0."
            )
    return curves
