"""Reads how a model's cosines are spread and what they mean, where its folder says so."""

import json
from pathlib import Path
from typing import Final

from crossmodal.errors import ConfigurationError
from crossmodal.records import Statistics
from crossmodal.statistics import unpack_statistics

__all__ = ["CALIBRATION_FILE", "read_calibration"]

CALIBRATION_FILE: Final = "calibration.json"


def read_calibration(folder: Path, *, name: str) -> Statistics:
    """The statistics of each pair of query and target; empty without the file.

    Raises ConfigurationError when the file is there and cannot be meant.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return {}
    where = f"Model {name}: {CALIBRATION_FILE}"
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))["pairs"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigurationError(f"{where} cannot be read: {error!r}.") from error
    return unpack_statistics(pairs, where=where)
