"""Baked models: what is gathered, what is refused, and that a folder which was changed is not served."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import pytest

from crossmodal.clip import loading, spec
from crossmodal.clip.baked import BAKED_MANIFEST, Form, Recipe, check_baked, read_baked
from crossmodal.clip.baking import bake_model
from crossmodal.clip.base import ClipModel
from crossmodal.clip.catalogue import resolve
from crossmodal.clip.exporting import export_model
from crossmodal.clip.loading import load_model
from crossmodal.clip.spec import BUNDLED, LocalFolder, parse_spec
from crossmodal.errors import ConfigurationError
from tests.unit.clip.hub_server import COMMIT
from tests.unit.clip.model_folders import PREPROCESSING, SMALL, with_text, write_folder

WEIGHTS, CONFIG, VOCABULARY = "open_clip_model.safetensors", "open_clip_config.json", "bpe_simple_vocab.txt.gz"
TEXTS = ["a dog", "two cats"]


def refusal(recipe: Recipe, folder: Path, exports: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        bake_model(recipe, folder, exports=exports)
    assert "\n" not in refused.value.detail
    assert not folder.exists()
    assert not list(folder.parent.glob(".bake-*"))
    return refused.value.detail


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def baked_weights(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baked") / "weights"
    bake_model(Recipe(f"local-dir:{small_folder}"), folder, exports=folder.parent / "exports")
    return folder


def test_weights_are_gathered_and_answered_for(baked_weights: Path, small_folder: Path, small_model: ClipModel) -> None:
    manifest = read_baked(baked_weights, "small")
    assert set(manifest.files) == {WEIGHTS, CONFIG, VOCABULARY}
    assert {path.name for path in baked_weights.iterdir()} == {*manifest.files, BAKED_MANIFEST}
    assert manifest.files == {name: digest(small_folder / name) for name in manifest.files}
    assert (manifest.name, manifest.revision) == ("local-dir:small", None)
    assert manifest.fingerprint == small_model.info.fingerprint
    assert str(small_folder) not in (baked_weights / BAKED_MANIFEST).read_text()


def test_a_baked_model_is_the_model(baked_weights: Path, small_model: ClipModel, tmp_path: Path) -> None:
    moved = shutil.copytree(baked_weights, tmp_path / "elsewhere")
    loaded = load_model(f"local-dir:{moved}", device="cpu", precision="fp32")
    assert loaded.info.name == "local-dir:small"
    assert loaded.info.fingerprint == small_model.info.fingerprint
    ours, theirs = (model.embed_texts(TEXTS).embeddings for model in (loaded, small_model))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("form", ["export", "both"])
def test_an_export_is_made_where_there_is_none(
    small_folder: Path, small_model: ClipModel, tmp_path: Path, form: Form
) -> None:
    folder = tmp_path / "baked"
    manifest = bake_model(Recipe(f"local-dir:{small_folder}", form), folder, exports=tmp_path / "exports")
    assert (WEIGHTS in manifest.files) == (form == "both")
    assert {"openvino_export.json", "openvino_image.bin", "openvino_text.xml"} <= set(manifest.files)
    assert not (tmp_path / "exports").exists()
    assert not list(small_folder.glob("openvino*"))
    assert manifest.fingerprint == small_model.info.fingerprint
    loaded = load_model(f"local-dir:{folder}", device="cpu", precision="fp32")
    assert type(loaded).__name__ == "OpenVinoClip"
    assert loaded.info.name == "local-dir:small"


def test_an_export_that_is_there_is_taken(small_folder: Path, tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    made = export_model(f"local-dir:{small_folder}", out=None, exports=exports)
    manifest = bake_model(Recipe(f"local-dir:{small_folder}", "export"), tmp_path / "baked", exports=exports)
    assert manifest.files == {path.name: digest(path) for path in made.iterdir()}


def test_an_export_alone_is_baked_without_its_weights(small_folder: Path, tmp_path: Path) -> None:
    alone = export_model(f"local-dir:{small_folder}", out=tmp_path / "alone", exports=tmp_path / "exports")
    manifest = bake_model(Recipe(f"local-dir:{alone}", "export"), tmp_path / "baked", exports=tmp_path / "exports")
    assert manifest.files == {path.name: digest(path) for path in alone.iterdir()}
    detail = refusal(Recipe(f"local-dir:{alone}", "both"), tmp_path / "again", tmp_path / "exports")
    assert "has no open_clip_config.json" in detail


def in_hub_cache(folder: Path, content: bytes, *, named: str) -> None:
    """Put weights as the hub's cache has them: a link to a file that is named by its SHA-256."""
    blob = folder.parents[1] / "blobs" / named
    blob.parent.mkdir()
    blob.write_bytes(content)
    (folder / WEIGHTS).symlink_to(blob)


@pytest.fixture
def hub_model(hub_cache: Callable[..., Path], tmp_path: Path) -> tuple[Path, bytes]:
    """A repository in the hub's cache, yet without weights, and the weights it should have."""
    model_cfg = with_text(context_length=77, vocab_size=49408)  # of OpenCLIP's own vocabulary
    made = write_folder(tmp_path / "source", model_cfg=model_cfg, vocabulary=False)
    config = json.dumps({"model_cfg": model_cfg, "preprocess_cfg": PREPROCESSING}).encode()
    return hub_cache("org/small", {CONFIG: config}), (made / WEIGHTS).read_bytes()


def test_a_model_of_the_hub_is_baked_with_its_revision(hub_model: tuple[Path, bytes], tmp_path: Path) -> None:
    cached, weights = hub_model
    in_hub_cache(cached, weights, named=sha256(weights).hexdigest())
    recipe = Recipe("hf-hub:org/small", revision=COMMIT, sha256=sha256(weights).hexdigest().upper())
    manifest = bake_model(recipe, tmp_path / "baked", exports=tmp_path / "exports")
    assert (manifest.name, manifest.revision) == ("hf-hub:org/small", COMMIT)
    assert (tmp_path / "baked" / WEIGHTS).read_bytes() == weights
    assert not (tmp_path / "baked" / WEIGHTS).is_symlink()
    by_hub = load_model("hf-hub:org/small", device="cpu", precision="fp32")
    assert manifest.fingerprint == by_hub.info.fingerprint
    shutil.rmtree(cached)
    offline = load_model(f"local-dir:{tmp_path / 'baked'}", device="cpu", precision="fp32")
    assert offline.info.name == "hf-hub:org/small"
    np.testing.assert_array_equal(offline.embed_texts(TEXTS).embeddings, by_hub.embed_texts(TEXTS).embeddings)


def test_a_model_of_the_catalogue_keeps_its_name_and_its_fingerprint(
    hub_model: tuple[Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached, weights = hub_model
    in_hub_cache(cached, weights, named=sha256(weights).hexdigest())
    described = json.loads((cached / CONFIG).read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Small-16", described)
    source = {"hf_hub": "org/small/", "mean": (0.5, 0.5, 0.5), "interpolation": "bilinear"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Small-16", {"some_tag": source})
    manifest = bake_model(Recipe("Small-16/some-tag", "both"), tmp_path / "baked", exports=tmp_path / "exports")
    published = load_model("Small-16/some_tag", device="cpu", precision="fp32")
    assert (manifest.name, manifest.revision) == ("Small-16/some_tag", COMMIT)
    assert manifest.fingerprint == published.info.fingerprint
    monkeypatch.undo()  # neither the catalogue nor the hub is asked again
    runtimes: tuple[Literal["torch", "openvino"], ...] = ("torch", "openvino")
    for runtime in runtimes:
        loaded = load_model(f"local-dir:{tmp_path / 'baked'}", device="cpu", precision="fp32", runtime=runtime)
        assert (loaded.info.name, loaded.info.fingerprint) == ("Small-16/some_tag", manifest.fingerprint)
        assert loaded.info.preprocessing == published.info.preprocessing


def test_another_revision_than_the_cache_has_is_not_taken_for_it(hub_model: tuple[Path, bytes], tmp_path: Path) -> None:
    cached, weights = hub_model
    in_hub_cache(cached, weights, named=sha256(weights).hexdigest())
    detail = refusal(Recipe("hf-hub:org/small", revision="f" * 40), tmp_path / "baked", tmp_path / "exports")
    assert "no connection and not in the cache" in detail


def test_weights_damaged_on_their_way_from_the_hub_are_refused(hub_model: tuple[Path, bytes], tmp_path: Path) -> None:
    cached, weights = hub_model
    in_hub_cache(cached, weights[:-1] + bytes([weights[-1] ^ 1]), named=sha256(weights).hexdigest())
    detail = refusal(Recipe("hf-hub:org/small"), tmp_path / "baked", tmp_path / "exports")
    assert "the weights are not those of the hub" in detail


def test_other_weights_than_asked_for_are_refused(small_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(f"local-dir:{small_folder}", sha256="0" * 64)
    detail = refusal(recipe, tmp_path / "baked", tmp_path / "exports")
    assert detail == (
        f"Model local-dir:small: the weights are not those asked for: SHA-256 {digest(small_folder / WEIGHTS)}, not {'0' * 64}."
    )


def test_what_cannot_be_served_is_not_baked(tmp_path: Path) -> None:
    pickled = write_folder(tmp_path / "pickled", weights=None)
    (pickled / "open_clip_pytorch_model.bin").write_bytes(b"anything")
    assert "is a pickle" in refusal(Recipe(f"local-dir:{pickled}"), tmp_path / "baked", tmp_path)
    other = write_folder(tmp_path / "other")
    (other / CONFIG).write_text(json.dumps({"model_cfg": {**SMALL, "embed_dim": 48}, "preprocess_cfg": PREPROCESSING}))
    assert "does not fit" in refusal(Recipe(f"local-dir:{other}"), tmp_path / "baked", tmp_path)
    recipe = Recipe(f"local-dir:{other}", revision=COMMIT)
    assert "a folder has no revisions" in refusal(recipe, tmp_path / "baked", tmp_path)


def test_a_folder_that_is_there_is_left_alone(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already"):
        bake_model(Recipe(f"local-dir:{small_folder}"), tmp_path, exports=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda folder: _flip(folder / WEIGHTS), f"{WEIGHTS} is damaged or of another"),
        (lambda folder: _flip(folder / VOCABULARY), f"{VOCABULARY} is damaged or of another"),
        (lambda folder: (folder / CONFIG).unlink(), f"{CONFIG} is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is none of its files"),
        (lambda folder: (folder / BAKED_MANIFEST).write_text("{}"), f"{BAKED_MANIFEST} cannot be read (5 faults)"),
    ],
)
def test_a_baked_model_that_was_changed_is_not_served(
    baked_weights: Path, tmp_path: Path, change: Callable[[Path], Any], fault: str
) -> None:
    folder = shutil.copytree(baked_weights, tmp_path / "changed")
    change(folder)
    with pytest.raises(ConfigurationError) as refused:
        load_model(f"local-dir:{folder}", device="cpu")
    assert refused.value.detail == f"Model local-dir:changed: {fault}; bake it anew."


def test_a_folder_that_nobody_baked_is_taken_as_it_is(small_folder: Path) -> None:
    given = LocalFolder(small_folder, "local-dir:small")
    assert check_baked(given) == given


def test_a_bento_without_a_baked_model_says_so() -> None:
    assert not BUNDLED["baked"].exists()
    with pytest.raises(ConfigurationError, match="no model was baked in here; build with `make bento MODEL=SPEC`"):
        load_model("baked", device="cpu")


def test_the_model_of_a_bento_needs_its_manifest(
    baked_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(baked_weights, tmp_path / "baked")
    monkeypatch.setitem(spec.BUNDLED, "baked", folder)
    assert check_baked(_folder("baked")).name == "local-dir:small"
    (folder / BAKED_MANIFEST).unlink()
    with pytest.raises(ConfigurationError, match=f"Model baked: {BAKED_MANIFEST} cannot be read"):
        load_model("baked", device="cpu")


def _folder(name: str) -> LocalFolder:
    parsed = parse_spec(name)
    assert isinstance(parsed, LocalFolder)
    return parsed


def test_without_pytorch_weights_are_refused_and_an_export_is_served(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tmp_path / "both"
    bake_model(Recipe(f"local-dir:{small_folder}", "both"), both, exports=tmp_path / "exports")
    monkeypatch.setattr(loading, "_torch_installed", lambda: False)
    monkeypatch.setattr(loading, "_CUDA_DEVICES", (Path("/dev/null"),))  # a GPU is there
    assert type(load_model(f"local-dir:{both}")).__name__ == "OpenVinoClip"
    with pytest.raises(ConfigurationError, match="PyTorch, which it needs, is not installed here, as in a slim bento"):
        load_model(f"local-dir:{small_folder}")
    with pytest.raises(ConfigurationError, match="PyTorch, which it needs, is not installed here"):
        load_model("ViT-B-32/laion2b_s34b_b79k")


def test_the_revision_reaches_the_catalogue(hub_cache: Callable[..., Path]) -> None:
    hub_cache("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", {WEIGHTS: b"weights"})
    published = parse_spec("ViT-B-32/laion2b_s34b_b79k")
    assert resolve(published, COMMIT).weights.parent.name == COMMIT
    with pytest.raises(ConfigurationError, match="not in the cache"):
        resolve(published, "f" * 40)
