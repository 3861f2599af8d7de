"""Servers shared by the end-to-end tests: starting one takes seconds."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.servers import ROOT, Server

SAMPLES = ROOT / "samples"
GALLERY_SIZE = 60
CHOSEN_OBJECT = "banana"


def small_gallery(folder: Path) -> Path:
    """A part of the sample gallery: every picture of the README's example object, and some others."""
    images = folder / "images"
    images.mkdir(parents=True)
    entries = [json.loads(line) for line in (SAMPLES / "images" / "metadata.jsonl").read_text().splitlines()]
    chosen = [entry for entry in entries if entry["object"] == CHOSEN_OBJECT]
    chosen += [entry for entry in entries if entry["object"] != CHOSEN_OBJECT and "/" not in entry["file_name"]]
    chosen = chosen[:GALLERY_SIZE]
    for entry in chosen:
        shutil.copy(SAMPLES / "images" / entry["file_name"], images / Path(entry["file_name"]).name)
    lines = [json.dumps(entry | {"file_name": Path(entry["file_name"]).name}) for entry in chosen]
    (images / "metadata.jsonl").write_text("\n".join(lines))
    captions = [{"text": entry["caption"], "metadata": {"object": entry["object"]}} for entry in chosen]
    unique = {caption["text"]: caption for caption in captions}.values()
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, unique)))
    return folder


def serve_gallery(folder: Path, **settings: str) -> Iterator[Server]:
    server = Server(folder, SAMPLES=str(small_gallery(folder / "gallery")), **settings)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service with the bundled model in the API's process, and a part of the sample gallery indexed."""
    yield from serve_gallery(tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="session")
def split_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with the model in the Encoder service."""
    yield from serve_gallery(tmp_path_factory.mktemp("split"), ENCODER="service")
