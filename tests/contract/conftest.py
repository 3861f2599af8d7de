"""The stores under contract: ``store`` is each of them, open and empty."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from qdrant_client import AsyncQdrantClient

from crossmodal.records import Modality
from crossmodal.store.base import VectorStore
from crossmodal.store.edge import EdgeStore
from crossmodal.store.exact import ExactStore
from crossmodal.store.observed import ObservedStore
from crossmodal.store.qdrant import QdrantStore
from crossmodal.telemetry import store_use
from tests.contract.fake_server import FakeServer
from tests.contract.material import SPEC

MEMORY = Path("/dev/shm")  # noqa: S108 -- the files get a folder of their own there

# The client's in-memory stand-in warns of what only a server does: payload indexes and search parameters.
IN_MEMORY = pytest.param("qdrant-in-memory", marks=pytest.mark.filterwarnings("ignore:.*no effect"))
HTTP = pytest.param("qdrant-http", marks=pytest.mark.filterwarnings("ignore:.*no effect"))
KINDS = ["exact", "observed", "edge", IN_MEMORY, HTTP]
if "QDRANT_TEST_URL" in os.environ:
    KINDS.append("qdrant-server")


async def drop(url: str, prefix: str) -> None:
    client = AsyncQdrantClient(url=url)
    for modality in Modality:
        await client.delete_collection(f"{prefix}_{modality}s")
    await client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place for the embedded store's files: in memory where there is one, since each write waits for the disk."""
    if not MEMORY.is_dir():
        yield tmp_path / "store"
        return
    with TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made) / "store"


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[VectorStore]:
    url, prefix = os.environ.get("QDRANT_TEST_URL", ""), f"test-{uuid4()}"
    kinds: dict[str, Callable[[], VectorStore]] = {
        "exact": ExactStore,
        "observed": lambda: ObservedStore(ExactStore(), store_use),
        "edge": lambda: EdgeStore(folder),
        "qdrant-in-memory": lambda: QdrantStore(lambda: AsyncQdrantClient(":memory:")),
        "qdrant-http": lambda: QdrantStore(FakeServer().connect),
        "qdrant-server": lambda: QdrantStore(url, prefix=prefix),
    }
    made = kinds[request.param]()
    await made.open(SPEC)
    yield made
    await made.close()
    if request.param == "qdrant-server":
        await drop(url, prefix)
