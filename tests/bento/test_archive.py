"""What is in a bento and what is not, and that the same tree gives the same bento."""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.bento.building import build_bento, copy_tree, hashes, tracked
from tools.servers import ROOT

CANARY = "canary-7c1f0f4b"
PLANTED = (
    ".env", "keys.json", "crossmodal/.env", "crossmodal/api/keys.json", "crossmodal/.hidden.py", "web/.env", "web/notes.txt",
    "web/keys.json", "models/tiny/.env", "models/tiny/token.txt", "models/tiny/weights.bin", "models/other/model.safetensors",
    "models/baked/model.safetensors", "requirements/private.txt", "indexer/state.sqlite", "data/store/wal", "data/media/a.jpg",
    "deploy/compose.secrets/keys.json", "deploy/compose.secrets/metrics-token", "build/left.py", ".venv/lib/secret.py",
    "crossmodal/__pycache__/settings.cpython-311.pyc", "tests/test_private.py", "id_rsa",
)  # fmt: skip
SECRETS = {
    "CROSSMODAL_STORE_API_KEY": CANARY,
    "CROSSMODAL_KEYS_FILE": f"/{CANARY}/keys.json",
    "CROSSMODAL_DATA": f"/{CANARY}",
    "CROSSMODAL_MODEL": CANARY,
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "HF_TOKEN": CANARY,
    "QDRANT_API_KEY": CANARY,
}

BENTOML_WRITES = {
    "bento.yaml", "README.md", "apis/openapi.yaml", "apis/schema.json", "env/docker/Dockerfile", "env/docker/entrypoint.sh",
    "env/python/requirements.in", "env/python/requirements.txt", "src/bentofile.yaml",
}  # fmt: skip
STAMPS = {"version", "creation_time"}
"""What BentoML notes in bento.yaml of the build itself."""


@pytest.fixture(scope="module")
def bentos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two bentos of the same files: one of a clean copy, one of a tree with secrets and waste, in an environment with more."""
    folder = tmp_path_factory.mktemp("bentos")
    clean, used = (copy_tree(folder / name) for name in ("clean", "used"))
    for name in PLANTED:
        (used / name).parent.mkdir(parents=True, exist_ok=True)
        (used / name).write_text(CANARY)
    with ThreadPoolExecutor(2) as both:
        first = both.submit(build_bento, folder / "first", tree=clean)
        second = both.submit(build_bento, folder / "second", tree=used, **SECRETS)
    yield first.result(), second.result()
    shutil.rmtree(folder)


def expected() -> set[str]:
    """The project's files that belong in, decided without bentofile.yaml."""
    code = {name for name in tracked() if name.endswith(".py") and name.startswith(("crossmodal/", "indexer/"))}
    whole = {name for name in tracked() if name.startswith(("web/", "models/tiny/"))}
    single = {
        "service.py", "crossmodal/search/vocabulary.txt", "requirements/runtime.txt", "requirements/uv.txt",
        "deploy/Dockerfile", "README.md", "LICENSE",
    }  # fmt: skip
    return code | whole | single


def test_all_that_serving_needs_is_in_and_nothing_else(bentos: tuple[Path, Path]) -> None:
    for bento in bentos:
        files = set(hashes(bento))
        assert files == {f"src/{name}" for name in expected()} | BENTOML_WRITES
    assert {"crossmodal/wiring.py", "web/index.html", "models/tiny/open_clip_model.safetensors"} <= expected()


def test_the_files_are_those_of_the_project(bentos: tuple[Path, Path]) -> None:
    for name in expected():
        assert (bentos[1] / "src" / name).read_bytes() == (ROOT / name).read_bytes()
    assert (bentos[1] / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()


def test_no_secret_and_no_waste_gets_in(bentos: tuple[Path, Path]) -> None:
    _, bento = bentos
    for path in bento.rglob("*"):
        assert CANARY not in path.name
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
        assert path.name != "__pycache__"


def test_the_same_tree_gives_the_same_bento(bentos: tuple[Path, Path]) -> None:
    first, second = (hashes(bento) for bento in bentos)
    assert {name for name in first if first[name] != second[name]} == {"bento.yaml"}
    notes = [yaml.safe_load((bento / "bento.yaml").read_text()) for bento in bentos]
    assert {name for name in notes[0] if notes[0][name] != notes[1][name]} == STAMPS
    assert notes[0]["labels"] == {"project": "crossmodal", "commit": "unknown", "packages": "full"}


def test_every_package_is_pinned_and_hashed(bentos: tuple[Path, Path]) -> None:
    locked = (bentos[0] / "src" / "requirements" / "runtime.txt").read_text().replace("\\\n", " ")
    packages = [line for line in locked.splitlines() if re.match(r"[a-z0-9]", line, re.IGNORECASE)]
    assert len(packages) > 100
    for package in packages:
        assert re.fullmatch(r"[\w.-]+==[\w.+!-]+( ;.*?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", package), package
