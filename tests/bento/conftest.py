"""A bento of this tree, built once: it takes some seconds."""

from pathlib import Path

import pytest

from tests.bento.building import DOCKERFILE, Instruction, build_bento, read_dockerfile


@pytest.fixture(scope="session")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bento as `make bento` builds it."""
    return build_bento(tmp_path_factory.mktemp("bento") / "home")


@pytest.fixture(scope="session")
def dockerfile(bento: Path) -> list[Instruction]:
    """The Dockerfile of its image."""
    return read_dockerfile((bento / DOCKERFILE).read_text())
