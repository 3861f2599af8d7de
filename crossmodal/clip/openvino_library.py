"""The one place that imports OpenVINO and NNCF, which quantizes for it."""

import logging
import sys
from typing import Any

from crossmodal.errors import ConfigurationError

__all__ = ["nncf", "openvino"]


def openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports every import to its maker and leaves files in the home.

    A module that is None counts as not installed, and OpenVINO then puts its own stub in the place of telemetry.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is what Python documents for this
    import openvino as library

    return library


def nncf() -> Any:
    """Import NNCF, which only exporting in int8 needs; its telemetry is the same package's and stays hidden, too.

    Raises ConfigurationError where it is not installed.
    """
    openvino()
    try:
        import nncf as library
    except ImportError as error:
        raise ConfigurationError(
            "int8 needs NNCF, which is not installed: `make export INT8=1` does that, or "
            "`uv pip install --require-hashes -r requirements/int8.txt`."
        ) from error
    library.set_log_level(logging.ERROR)
    return library
