"""The one place that imports OpenVINO."""

import sys
from typing import Any

__all__ = ["openvino"]


def openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports every import to its maker and leaves files in the home.

    A module that is None counts as not installed, and OpenVINO then puts its own stub in the place of telemetry.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is what Python documents for this
    import openvino as library

    return library
