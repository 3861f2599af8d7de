from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from open_clip.tokenizer import SimpleTokenizer

from crossmodal.clip.base import ClipModel
from crossmodal.clip.loading import load_model
from tests.unit.clip.hub_server import COMMIT
from tests.unit.clip.model_folders import CONTEXT, write_folder, write_vocabulary


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Models as small as these gain nothing from a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def small_model(small_folder: Path) -> ClipModel:
    return load_model(f"local-dir:{small_folder}", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary") / "bpe_simple_vocab.txt.gz")


@pytest.fixture
def small_tokenizer(vocabulary: Path) -> SimpleTokenizer:
    return SimpleTokenizer(bpe_path=str(vocabulary), context_length=CONTEXT)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Mapping[str, bytes]], Path]:
    """A hub cache of one's own, offline; calling it puts a repository in and gives the folder of its files."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repository: str, files: Mapping[str, bytes]) -> Path:
        storage = tmp_path / f"models--{repository.replace('/', '--')}"
        folder = storage / "snapshots" / COMMIT
        folder.mkdir(parents=True)
        (storage / "refs").mkdir()
        (storage / "refs" / "main").write_text(COMMIT)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return put
