import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from crossmodal.clip import exporting
from crossmodal.clip.exported import FILES, IMAGE_GRAPH, MANIFEST, REFERENCES, TEXT_GRAPH, TOKENIZER, export_folder
from crossmodal.clip.exporting import export_model
from crossmodal.clip.fingerprint import hash_weights
from crossmodal.clip.loading import load_model
from crossmodal.clip.openvino_runtime import OpenVinoClip
from crossmodal.clip.spec import parse_spec
from crossmodal.clip.text import adapt_tokenizer
from crossmodal.clip.torch_runtime import TorchClip
from crossmodal.errors import ConfigurationError
from tests.unit.clip.hub_tokenizer import hub_tokenizer
from tests.unit.clip.model_folders import SMALL, state_of, write_folder

CALIBRATION = {"pairs": {"text-image": {"midpoint": 0.2, "slope": 40.0, "mean": 0.1, "std": 0.03}}}
Change = Callable[[Path], object]


@pytest.fixture(scope="session")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with its export beside the weights."""
    folder = write_folder(tmp_path_factory.mktemp("beside") / "model")
    (folder / "calibration.json").write_text(json.dumps(CALIBRATION))
    export_model(f"local-dir:{folder}", out=folder, exports=folder)
    return folder


@pytest.fixture(scope="session")
def alone(beside: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same export without the weights."""
    folder = tmp_path_factory.mktemp("alone") / "export"
    folder.mkdir()
    for file in (*FILES, MANIFEST, "calibration.json"):
        shutil.copy(beside / file, folder)
    return folder


@pytest.fixture
def mine(beside: Path, tmp_path: Path) -> Path:
    """A copy of the folder with both, to break."""
    return Path(shutil.copytree(beside, tmp_path / "model"))


@pytest.fixture
def mine_alone(alone: Path, tmp_path: Path) -> Path:
    """A copy of the export alone, to break."""
    return Path(shutil.copytree(alone, tmp_path / "export"))


def load(folder: Path, **changes: Any) -> Any:
    return load_model(f"local-dir:{folder}", **{"device": "cpu", "precision": "fp32", **changes})


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, **changes)
    assert "\n" not in caught.value.detail
    assert str(folder) not in caught.value.detail
    return caught.value.detail


def with_digest(folder: Path, file: str) -> None:
    """Let the manifest answer for the file as it is now."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][file] = hash_weights(folder / file)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_an_export_beside_the_weights_is_taken_unless_pytorch_is_asked_for(beside: Path) -> None:
    assert type(load(beside)) is OpenVinoClip
    assert type(load(beside, runtime="openvino")) is OpenVinoClip
    assert type(load(beside, runtime="torch")) is TorchClip
    assert load(beside).info == load(beside, runtime="torch").info


def test_an_export_alone_serves_with_its_calibration(alone: Path, beside: Path) -> None:
    info = load(alone).info
    assert info == load(beside, runtime="torch").info
    assert info.name == "local-dir:model"
    assert info.calibration["text-image"].slope == 40.0


def test_without_an_export_pytorch_runs_the_model(small_folder: Path, tmp_path: Path) -> None:
    assert type(load(small_folder, exports=tmp_path)) is TorchClip
    detail = refusal(small_folder, runtime="openvino", exports=tmp_path)
    assert "has no export; make one: python -m indexer export" in detail


def test_exports_of_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    specs = ["local-dir:/a/model", "local-dir:/b/model", "tiny", "ViT-B-32/openai", "hf-hub:a/b", "hf-hub:a-b/c"]
    folders = [export_folder(tmp_path, parse_spec(spec)) for spec in specs]
    assert len(set(folders)) == len(specs)
    assert {folder.parent for folder in folders} == {tmp_path}


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"device": "cuda:0"}, {"precision": "fp16"}], ids=str)
def test_openvino_is_refused_where_it_does_not_run(beside: Path, change: dict[str, str]) -> None:
    assert "OpenVINO runs on the CPU in auto or fp32 or bf16" in refusal(beside, runtime="openvino", **change)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", ["missing", "truncated", "changed", "empty"])
def test_a_damaged_file_is_refused_with_or_without_weights(mine: Path, mine_alone: Path, file: str, how: str) -> None:
    for folder in (mine, mine_alone):
        path = folder / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        damaged = {"truncated": bytes(content[:-1]), "changed": bytes(content), "empty": b""}
        path.unlink() if how == "missing" else path.write_bytes(damaged[how])
        detail = refusal(folder)
        assert f"{file} of its export is {'missing' if how == 'missing' else 'damaged'}" in detail
        assert "export it again" in detail


def _manifest(change: Callable[[dict[str, Any]], object]) -> Change:
    def changed(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / MANIFEST).write_bytes(b""), "is damaged (Invalid JSON: EOF while parsing a value"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "is damaged (Invalid JSON: EOF while parsing an object"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe"), "is damaged (Invalid JSON: "),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "says what cannot be meant (all of it: "),
        (lambda folder: (folder / MANIFEST).unlink(), "is missing, other files of it are there"),
        (_manifest(lambda manifest: manifest.pop("dim")), "says what cannot be meant (dim: Field required)"),
        (_manifest(lambda manifest: manifest.update(format=2)), "format: Input should be 1"),
        (_manifest(lambda manifest: manifest.update(context_length=0)), "context_length"),
        (_manifest(lambda manifest: manifest["files"].pop(IMAGE_GRAPH)), "does not name what one is made of"),
        (_manifest(lambda manifest: manifest["files"].update({"../x": "0" * 64})), "does not name"),
        (_manifest(lambda manifest: manifest["fingerprints"].pop("reference")), "does not name"),
        (_manifest(lambda manifest: manifest["fingerprints"].update(standard="x")), "fingerprints.standard"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(mine: Path, change: Change, reason: str) -> None:
    change(mine)
    for runtime in ("auto", "openvino"):
        detail = refusal(mine, runtime=runtime)
        assert reason in detail
        assert f"{MANIFEST} of its export " in detail
        assert detail.endswith("; export it again: python -m indexer export --model local-dir:PATH --out PATH.")
    assert type(load(mine, runtime="torch")) is TorchClip


def test_a_manifest_that_is_no_file_is_refused(mine: Path) -> None:
    (mine / MANIFEST).unlink()
    (mine / MANIFEST).mkdir()
    assert f"{MANIFEST} of its export cannot be read (Is a directory); export it again" in refusal(mine)


@pytest.mark.parametrize(
    ("left", "wanted", "runtime", "why"),
    [
        ("all", {}, "OpenVinoClip", "there is an export"),
        ("all", {"runtime": "openvino"}, "OpenVinoClip", "asked for"),
        ("all", {"runtime": "torch"}, "TorchClip", "asked for"),
        ("all", {"precision": "bf16", "device": "cpu"}, "OpenVinoClip", "there is an export"),
        ("none", {}, "TorchClip", "there is no export"),
    ],
)
def test_the_log_says_which_runtime_it_is_and_why(
    mine: Path, left: str, wanted: dict[str, str], runtime: str, why: str
) -> None:
    for file in (MANIFEST, *FILES) if left == "none" else ():
        (mine / file).unlink()
    with capture_logs() as logs:
        load(mine, **wanted)
    (loaded,) = logs
    assert (loaded["event"], loaded["log_level"], loaded["runtime"], loaded["why"]) == (
        "clip_loaded",
        "info",
        runtime,
        why,
    )


def test_an_export_from_before_a_profile_serves_the_others(mine: Path, mine_alone: Path) -> None:
    for folder in (mine, mine_alone):
        _manifest(lambda manifest: manifest["fingerprints"].pop("fast"))(folder)
        assert type(load(folder)) is OpenVinoClip
    assert "is older than the profile fast; export it again" in refusal(mine_alone, profile="fast")
    assert "is older than the profile fast; export it again" in refusal(mine, profile="fast", runtime="openvino")
    assert type(load(mine, profile="fast")) is TorchClip  # its weights are there


def _other_references(folder: Path) -> None:
    file = REFERENCES["texts"]
    np.save(folder / file, np.roll(np.load(folder / file), 1, axis=1))
    with_digest(folder, file)


def _other_pictures(folder: Path) -> None:
    path = folder / IMAGE_GRAPH.replace(".xml", ".bin")
    numbers = np.frombuffer(path.read_bytes(), dtype=np.float32)
    path.write_bytes(numbers[::-1].tobytes())
    with_digest(folder, path.name)


def _no_graph(folder: Path) -> None:
    (folder / TEXT_GRAPH).write_text("<net/>")
    with_digest(folder, TEXT_GRAPH)


@pytest.mark.parametrize("change", [_other_references, _other_pictures, _no_graph])
def test_an_export_that_embeds_otherwise_gives_way_to_pytorch_or_is_refused(
    mine: Path, mine_alone: Path, change: Change
) -> None:
    change(mine)
    with capture_logs() as logs:
        assert type(load(mine)) is TorchClip
    unused, loaded = logs
    assert (unused["event"], unused["log_level"]) == ("clip_export_not_used", "warning")
    assert loaded["why"] == "the export is not used"
    refusal(mine, runtime="openvino")
    change(mine_alone)
    refusal(mine_alone)


def test_a_dimension_the_graphs_do_not_have_is_not_served(mine_alone: Path) -> None:
    _manifest(lambda manifest: manifest.update(dim=64))(mine_alone)
    assert "come out otherwise" in refusal(mine_alone)


def test_a_tokenizer_that_cannot_be_meant_is_refused(mine: Path) -> None:
    content = json.loads((mine / TOKENIZER).read_text())
    changes: list[dict[str, Any]] = [{"clean": "none"}, {"special": []}, {"vocabulary": {}}, {"merges": None}]
    for change in changes:
        (mine / TOKENIZER).write_text(json.dumps(content | change))
        with_digest(mine, TOKENIZER)
        assert f"{TOKENIZER} of its export cannot be read" in refusal(mine)


def test_a_pickle_for_references_is_refused(mine: Path) -> None:
    file = REFERENCES["pixels"]
    np.save(mine / file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with_digest(mine, file)
    assert "references of its export cannot be read" in refusal(mine)


def test_weights_changed_after_the_export_are_not_served_by_it(mine: Path) -> None:
    write_folder(mine, state=state_of(SMALL, seed=1))
    with capture_logs() as logs:
        model = load(mine)
    assert type(model) is TorchClip
    assert "its files are not those its export was made of" in logs[0]["reason"]
    assert "its files are not those" in refusal(mine, runtime="openvino")
    export_model(f"local-dir:{mine}", out=mine, exports=mine)
    assert type(load(mine)) is OpenVinoClip
    assert load(mine).info.fingerprint == model.info.fingerprint


def test_calibration_measured_after_the_export_counts(mine: Path) -> None:
    later = json.loads(json.dumps(CALIBRATION))
    later["pairs"]["text-image"]["slope"] = 50.0
    (mine / "calibration.json").write_text(json.dumps(later))
    model = load(mine)
    assert type(model) is OpenVinoClip
    assert model.info.calibration["text-image"].slope == 50.0


def test_a_model_with_another_tokenizer_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="only models with CLIP's byte-pair tokenizer"):
        exporting._write_tokenizer(tmp_path, adapt_tokenizer(hub_tokenizer(8)), "m")


@pytest.mark.parametrize("there", [False, True])
def test_a_refused_export_leaves_the_folder_as_it_was(tmp_path: Path, *, there: bool) -> None:
    folder = write_folder(tmp_path / "model", state={"logit_scale": torch.zeros(())})
    out = tmp_path / "export"
    if there:
        out.mkdir()
        (out / MANIFEST).write_text("before")
    with pytest.raises(ConfigurationError, match="does not fit"):
        export_model(f"local-dir:{folder}", out=out, exports=tmp_path)
    assert out.exists() is there
    if there:
        assert [path.read_text() for path in out.iterdir()] == ["before"]


def test_a_folder_that_cannot_be_written_is_said(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="its export cannot be written: "):
        export_model(f"local-dir:{small_folder}", out=tmp_path / "file" / "export", exports=tmp_path)


def test_exporting_twice_gives_the_same_export(beside: Path, mine: Path) -> None:
    export_model(f"local-dir:{mine}", out=mine, exports=mine)
    one, other = (json.loads((folder / MANIFEST).read_text()) for folder in (beside, mine))
    assert one["fingerprints"] == other["fingerprints"]
    assert one["sources"] == other["sources"]
    assert {file.name for file in mine.iterdir()} == {file.name for file in beside.iterdir()}
