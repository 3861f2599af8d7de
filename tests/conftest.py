"""For every test."""

import pytest

from crossmodal.telemetry import configure_logging


@pytest.fixture(scope="session", autouse=True)
def _logging() -> None:
    """Log as the service does: one line per event."""
    configure_logging()
