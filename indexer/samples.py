"""The sample gallery, indexed once: what was deleted since stays deleted."""

from functools import partial
from pathlib import Path

import structlog

from crossmodal.records import DEFAULT_TENANT
from crossmodal.search.indexing import Status
from crossmodal.wiring import Container
from indexer.pipeline import index_sources
from indexer.sources import scan_pictures, scan_texts

MARKER = "samples-indexed"

log = structlog.get_logger()


async def index_samples_once(container: Container, folder: Path) -> None:
    """Index `images/` and `captions.jsonl` of ``folder`` unless that was done before with this data folder.

    The items become the default tenant's. Raises ``ConfigurationError`` if the folder does not hold them.
    """
    marker = container.settings.data / MARKER
    if marker.exists():
        return
    pictures = scan_pictures(folder / "images")
    texts = scan_texts(folder / "captions.jsonl")
    index_images = partial(container.indexing.index_images, DEFAULT_TENANT)
    index_texts = partial(container.indexing.index_texts, DEFAULT_TENANT)
    outcomes = await index_sources(index_images, pictures, unit=" pictures", progress=False)
    outcomes += await index_sources(index_texts, texts, unit=" texts", progress=False)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    log.info("samples indexed", **{status.value: outcomes[status] for status in Status})
