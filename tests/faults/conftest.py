"""Servers of one's own for faults, and what every fault must leave behind: answers, and a service that works."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tools.servers import ENTRY, Server

Start = Callable[..., Server]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers in folders of the test, ready unless ``ready=False``; they end with it."""
    servers: list[Server] = []

    def start(
        name: str = "server", *, ready: bool = True, variables: Mapping[str, str] | None = None, **settings: str
    ) -> Server:
        server = Server(tmp_path / name, ENTRY, variables, **settings)
        servers.append(server)
        if ready:
            server.wait_until_ready()
        return server

    yield start
    for server in servers:
        server.stop()
