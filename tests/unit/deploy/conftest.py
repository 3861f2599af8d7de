"""What the tests of deploy/ read."""

from pathlib import Path

import pytest

from tests.kustomize import Document, build
from tools.servers import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "cpu-split", "gpu")


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> list[Document]:
    """Each overlay in turn, built."""
    return build(KUBERNETES / "overlays" / request.param)


@pytest.fixture
def kubernetes() -> Path:
    """The folder of the manifests."""
    return KUBERNETES
