from pathlib import Path

import pytest
from huggingface_hub import constants

from crossmodal.clip.hub import fetch_config, fetch_weights
from crossmodal.errors import ConfigurationError
from tests.unit.clip.hub_server import COMMIT, GATED, serve_hub

FILES = {
    "org/safe": {"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"safe"},
    "org/older": {"open_clip_pytorch_model.safetensors": b"older"},
    "org/named": {"pytorch_model.safetensors": b"named", "pytorch_model.bin": b"pickle"},
    "org/pickled": {"open_clip_pytorch_model.bin": b"pickle", "pytorch_model.bin": b"pickle"},
}


def test_files_are_fetched_and_then_come_from_the_cache_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_hub(FILES) as endpoint:
        config = fetch_config("org/safe", model="m", endpoint=endpoint, cache_dir=tmp_path)
        weights = fetch_weights("org/safe", model="m", endpoint=endpoint, cache_dir=tmp_path)
    assert config.read_bytes() == b"{}"
    assert weights.read_bytes() == b"safe"
    assert config.parent == weights.parent
    assert config.parent.name == COMMIT
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_weights("org/safe", model="m", cache_dir=tmp_path) == weights


def test_the_older_name_of_safetensors_is_found(tmp_path: Path) -> None:
    with serve_hub(FILES) as endpoint:
        weights = fetch_weights("org/older", model="m", endpoint=endpoint, cache_dir=tmp_path)
    assert weights.read_bytes() == b"older"


def test_a_pickle_named_by_the_catalogue_is_replaced_by_its_twin(tmp_path: Path) -> None:
    with serve_hub(FILES) as endpoint:
        weights = fetch_weights("org/named", "pytorch_model.bin", model="m", endpoint=endpoint, cache_dir=tmp_path)
    assert weights.read_bytes() == b"named"


@pytest.mark.parametrize("filename", ["", "pytorch_model.bin"])
def test_pickles_alone_are_refused(tmp_path: Path, filename: str) -> None:
    with (
        serve_hub(FILES) as endpoint,
        pytest.raises(ConfigurationError, match="pickled weights are refused") as refused,
    ):
        fetch_weights("org/pickled", filename, model="ARCH/tag", endpoint=endpoint, cache_dir=tmp_path)
    assert "Model ARCH/tag" in refused.value.detail
    assert not list(tmp_path.rglob("*.bin"))


def test_a_repository_without_configuration(tmp_path: Path) -> None:
    with serve_hub(FILES) as endpoint, pytest.raises(ConfigurationError, match="no OpenCLIP model"):
        fetch_config("org/older", model="m", endpoint=endpoint, cache_dir=tmp_path)


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    with serve_hub(FILES) as endpoint, pytest.raises(ConfigurationError, match="no such repository"):
        fetch_config("org/none", model="m", endpoint=endpoint, cache_dir=tmp_path)


def test_a_repository_that_asks_for_permission(tmp_path: Path) -> None:
    with serve_hub(FILES) as endpoint, pytest.raises(ConfigurationError, match="access to it must be granted"):
        fetch_config(f"{GATED}/model", model="m", endpoint=endpoint, cache_dir=tmp_path)


def test_a_name_that_the_hub_would_not_take(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the download failed"):
        fetch_config("-/..", model="m", cache_dir=tmp_path)


def test_without_connection_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError) as refused:
        fetch_weights("org/safe", model="ViT-X/tag", cache_dir=tmp_path)
    assert "ViT-X/tag" in refused.value.detail
    assert "no connection and not in the cache" in refused.value.detail
    assert "\n" not in refused.value.detail
