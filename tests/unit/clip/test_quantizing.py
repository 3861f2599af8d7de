"""A small model in int8, quantized by NNCF and run by OpenVINO."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossmodal.clip.base import ClipModel
from crossmodal.clip.exported import (
    INT8_FILES,
    INT8_IMAGE_GRAPH,
    INT8_REFERENCES,
    INT8_TEXT_GRAPH,
    MANIFEST,
)
from crossmodal.clip.exporting import export_model
from crossmodal.clip.fingerprint import hash_weights, quantized_fingerprint
from crossmodal.clip.loading import load_model
from crossmodal.clip.quality import INT8_QUALITY, Counts, PoorQuality, Quantizing, Samples, read_quality
from crossmodal.clip.self_check import least_cosine
from crossmodal.clip.torch_runtime import TorchClip
from crossmodal.errors import ConfigurationError
from crossmodal.records import Preprocessing
from tests.unit.clip.model_folders import SIZE, SMALL, state_of, write_folder
from tools.servers import ROOT

WORDS = [
    "a",
    "photo",
    "of",
    "two",
    "red",
    "dogs",
    "and",
    "one",
    "old",
    "cat",
    "on",
    "the",
    "blue",
    "table",
    "under",
    "three",
    "small",
    "lamps",
]


def samples(pictures: int = 80, texts: int = 80) -> Callable[[Preprocessing], Samples]:
    """Pictures of one colour with some noise, and sentences of any length."""

    def read(preprocessing: Preprocessing) -> Samples:
        random = np.random.default_rng(0)
        colours = random.integers(0, 200, (pictures, 1, 1, 3)).astype(np.uint8)
        noise = random.integers(0, 56, (pictures, preprocessing.size, preprocessing.size, 3), dtype=np.uint8)
        said = [" ".join(random.choice(WORDS, random.integers(1, 20))) + f" {number}" for number in range(texts)]
        return Samples(colours + noise, [f"picture {number}" for number in range(pictures)], said)

    return read


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with its export, in int8 too, beside the weights."""
    folder = write_folder(tmp_path_factory.mktemp("int8") / "model")
    export_model(f"local-dir:{folder}", out=folder, exports=folder, quantizing=Quantizing(samples(), 50))
    return folder


@pytest.fixture
def mine(both: Path, tmp_path: Path) -> Path:
    """A copy of it, to break."""
    return Path(shutil.copytree(both, tmp_path / "model"))


def load(folder: Path, **changes: Any) -> ClipModel:
    return load_model(f"local-dir:{folder}", **{"device": "cpu", "precision": "int8", **changes})


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, **changes)
    assert "\n" not in caught.value.detail
    assert str(folder) not in caught.value.detail
    return caught.value.detail


def embed(model: ClipModel) -> list[Any]:
    """Pictures and texts that calibrated nothing, in batches of one and of several."""
    random = np.random.default_rng(7)
    pixels = np.full((5, SIZE, SIZE, 3), 90, np.uint8) + random.integers(0, 100, (5, SIZE, SIZE, 3), dtype=np.uint8)
    texts = ["a dog", "", "two red cats on the table " * 4, "東京 🙂", "the old lamp"]
    return [
        model.embed_pixels(pixels),
        np.concatenate([model.embed_pixels(pixels[:1]), model.embed_pixels(pixels[1:])]),
        model.embed_texts(texts).embeddings,
        np.concatenate([model.embed_texts([text]).embeddings for text in texts]),
    ]


def test_int8_is_near_pytorch_in_fp32(both: Path) -> None:
    ours, source = embed(load(both)), embed(load(both, precision="fp32", runtime="torch"))
    for one, other in zip(ours, source, strict=True):
        assert 0.99 <= least_cosine(one, other) < 0.999999


def test_int8_is_a_model_of_its_own_in_each_profile(both: Path) -> None:
    models = {
        (precision, profile): load(both, precision=precision, profile=profile).info
        for precision in ("fp32", "int8")
        for profile in ("standard", "reference")
    }
    assert len({info.fingerprint for info in models.values()}) == 4
    for profile in ("standard", "reference"):
        fp32, int8 = models["fp32", profile], models["int8", profile]
        assert int8.precision == "int8"
        assert replace(int8, precision="fp32", fingerprint=fp32.fingerprint) == fp32


def test_graphs_of_another_calibration_are_another_model() -> None:
    graphs = {"a.bin": "0" * 64, "b.bin": "1" * 64}
    made = {
        quantized_fingerprint("source", graphs),
        quantized_fingerprint("other", graphs),
        quantized_fingerprint("source", graphs | {"b.bin": "2" * 64}),
    }
    assert len(made) == 3
    assert quantized_fingerprint("source", dict(reversed(graphs.items()))) in made


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_nobody_gets_int8_who_did_not_ask(both: Path, precision: str) -> None:
    assert load(both, precision=precision).info.precision != "int8"


def test_the_report_is_of_what_calibrated_nothing(both: Path) -> None:
    quality = read_quality(both / INT8_QUALITY)
    assert quality.calibrated_on == Counts(40, 40)
    assert quality.held_out == Counts(40, 40)
    assert quality.captions == 40
    assert [each.k for each in quality.recall] == [1, 5, 10]
    assert 0.99 <= quality.pictures.least <= quality.pictures.p1 <= quality.pictures.p5 <= quality.pictures.p50 < 1
    assert 0.99 <= quality.texts.least <= quality.texts.p1 <= quality.texts.p5 <= quality.texts.p50 < 1
    assert 0.5 < quality.neighbours <= 1


def test_int8_takes_a_quarter_of_the_room(both: Path) -> None:
    for file in (INT8_IMAGE_GRAPH, INT8_TEXT_GRAPH):
        int8, fp32 = (
            (both / name.replace(".xml", ".bin")).stat().st_size for name in (file, file.replace("int8_", ""))
        )
        assert int8 < 0.4 * fp32


def test_int8_serves_without_weights_and_without_the_other_graphs(both: Path, tmp_path: Path) -> None:
    for file in (*INT8_FILES, MANIFEST, "openvino_tokenizer.json"):
        shutil.copy(both / file, tmp_path)
    assert load(tmp_path).info == load(both).info
    assert "openvino_image.xml of its export is missing" in refusal(tmp_path, precision="fp32")


@pytest.mark.parametrize("file", INT8_FILES)
@pytest.mark.parametrize("how", ["missing", "truncated", "changed"])
def test_a_damaged_file_is_refused_and_only_where_int8_is_wanted(mine: Path, file: str, how: str) -> None:
    content = bytearray((mine / file).read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged = {"truncated": bytes(content[:-1]), "changed": bytes(content)}
    (mine / file).unlink() if how == "missing" else (mine / file).write_bytes(damaged[how])
    detail = refusal(mine)
    assert f"{file} of its export is {'missing' if how == 'missing' else 'damaged'}" in detail
    assert "python -m indexer export --model local-dir:PATH --out PATH --int8 --pictures FOLDER --texts FILE" in detail
    assert load(mine, precision="fp32").info.precision == "fp32"


def with_digest(folder: Path, file: str) -> None:
    """Let the manifest answer for the file as it is now."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["int8"][file] = hash_weights(folder / file)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_int8_that_embeds_otherwise_is_refused_and_nothing_steps_in(mine: Path) -> None:
    file = INT8_REFERENCES["texts"]
    np.save(mine / file, np.roll(np.load(mine / file), 1, axis=1))
    with_digest(mine, file)
    assert "its texts come out otherwise in OpenVINO in int8 than when it was exported" in refusal(mine)
    (mine / INT8_IMAGE_GRAPH).write_text("<net/>")
    with_digest(mine, INT8_IMAGE_GRAPH)
    assert "OpenVINO cannot run its export here" in refusal(mine)


@pytest.mark.parametrize("change", ["missing", "more", "no digest"])
def test_a_manifest_that_cannot_be_meant_is_refused(mine: Path, change: str) -> None:
    manifest = json.loads((mine / MANIFEST).read_text())
    int8 = manifest["int8"]
    changes: dict[str, Callable[[], object]] = {
        "missing": lambda: int8.pop(INT8_IMAGE_GRAPH),
        "more": lambda: int8.update({"../x": "0" * 64}),
        "no digest": lambda: int8.update({INT8_IMAGE_GRAPH: "x"}),
    }
    changes[change]()
    (mine / MANIFEST).write_text(json.dumps(manifest))
    assert f"{MANIFEST} " in refusal(mine)


def test_weights_changed_after_the_export_are_not_served_by_it(mine: Path) -> None:
    write_folder(mine, state=state_of(SMALL, seed=1))
    assert "its files are not those its export was made of" in refusal(mine)
    export_model(f"local-dir:{mine}", out=mine, exports=mine)
    assert "has no int8 export" in refusal(mine)
    assert not {file.name for file in mine.iterdir()} & set(INT8_FILES)


def test_exporting_again_without_int8_keeps_it(mine: Path) -> None:
    before = load(mine).info
    export_model(f"local-dir:{mine}", out=mine, exports=mine)
    assert load(mine).info == before
    assert load(mine, precision="fp32").info.precision == "fp32"


def test_a_damaged_int8_part_is_not_kept(mine: Path) -> None:
    (mine / INT8_TEXT_GRAPH).write_text("")
    export_model(f"local-dir:{mine}", out=mine, exports=mine)
    assert "has no int8 export" in refusal(mine)


def test_without_an_int8_export_the_command_is_named(small_folder: Path, mine: Path, tmp_path: Path) -> None:
    command = "make one: python -m indexer export --model SPEC --int8 --pictures FOLDER --texts FILE."
    assert command in refusal(small_folder, exports=tmp_path)
    manifest = json.loads((mine / MANIFEST).read_text())
    del manifest["int8"]
    (mine / MANIFEST).write_text(json.dumps(manifest))
    for runtime in ("auto", "openvino"):
        assert command in refusal(mine, runtime=runtime)
    assert load(mine, precision="fp32").info.precision == "fp32"


def test_int8_is_not_for_pytorch_nor_for_a_gpu(both: Path) -> None:
    assert "PyTorch does not run models in it" in refusal(both, runtime="torch")
    assert "or in int8; device cuda and precision int8 were asked for" in refusal(both, device="cuda")
    assert type(load(both, runtime="torch", precision="fp32")) is TorchClip


@pytest.mark.parametrize(("pictures", "texts", "what"), [(63, 80, "there are 63"), (80, 0, "there are 0")])
def test_too_few_samples_are_refused_and_nothing_is_written(
    small_folder: Path, tmp_path: Path, pictures: int, texts: int, what: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"int8 needs 64 different (pictures|texts)") as caught:
        export_model(
            f"local-dir:{small_folder}",
            out=tmp_path / "out",
            exports=tmp_path,
            quantizing=Quantizing(samples(pictures, texts)),
        )
    assert what in caught.value.detail
    assert not (tmp_path / "out").exists()


def unlike(preprocessing: Preprocessing) -> Samples:
    """Pictures that calibrate, all black but for a grain, are nothing like those that judge."""
    usual = samples()(preprocessing)
    return replace(usual, pixels=np.concatenate([usual.pixels[:40] // 250, usual.pixels[40:]]))


def test_poor_quality_is_refused_with_its_report_and_written_when_it_is_accepted(
    small_folder: Path, tmp_path: Path
) -> None:
    def export(*, accept: bool) -> Path:
        how = Quantizing(unlike, accept=accept)
        return export_model(f"local-dir:{small_folder}", out=tmp_path / "out", exports=tmp_path, quantizing=how)

    with pytest.raises(
        PoorQuality, match=r"in int8 one in a hundred pictures has a cosine .* --accept-quality"
    ) as caught:
        export(accept=False)
    assert caught.value.quality.pictures.p1 < 0.99 <= caught.value.quality.texts.p1
    assert not (tmp_path / "out").exists()
    assert read_quality(export(accept=True) / INT8_QUALITY) == caught.value.quality
    assert load(tmp_path / "out").info.precision == "int8"


def test_serving_int8_imports_neither_torch_nor_nncf(both: Path, tmp_path: Path) -> None:
    program = """
import json, sys
from crossmodal.settings import Settings
from crossmodal.wiring import build_model
model = build_model(Settings())
names = ["torch", "open_clip", "nncf", "scipy", "sklearn", "openvino_telemetry", "openvino"]
print(json.dumps([name for name in names if sys.modules.get(name)]), model.info.precision)
"""
    environment = {"HOME": str(tmp_path), "CROSSMODAL_MODEL": f"local-dir:{both}", "CROSSMODAL_DATA": str(tmp_path)}
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT, env=environment | {"CROSSMODAL_PRECISION": "int8"}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert outcome.stdout.splitlines()[-1] == f"{json.dumps(['openvino'])} int8"
