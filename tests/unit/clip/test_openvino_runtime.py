import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from crossmodal.clip.base import ClipModel
from crossmodal.clip.exporting import export_model
from crossmodal.clip.loading import load_model
from crossmodal.clip.openvino_runtime import OpenVinoClip, native_precision, shared_length
from crossmodal.clip.self_check import least_cosine
from crossmodal.records import Preprocessing, Profile
from tests.unit.clip.model_folders import CONTEXT, DIM, SIZE, SMALL, with_text, with_vision, write_folder
from tools.servers import ROOT

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "small": SMALL,
    "quick gelu": {**SMALL, "quick_gelu": True},
    "a bias of the logits": {**SMALL, "init_logit_bias": -10.0},
    "end by its id": {**with_text(pool_type="eos", eos_id=713), "custom_text": True},
    "every position": {**with_text(no_causal_mask=True, pool_type="last"), "custom_text": True},
    "mean of the patches": with_vision(pool_type="avg", final_ln_after_pool=True),
}
TEXTS = ["a dog", "", "two cats on a mat", "東京 🙂", "over " * 40, "<end_of_text> red", "the " * 3]


@pytest.fixture(scope="module", params=[*CONFIGURATIONS, "tiny"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipModel, ClipModel]:
    """A model run by OpenVINO and by PyTorch, both in fp32."""
    folder = tmp_path_factory.mktemp("openvino")
    spec = "tiny"
    if request.param in CONFIGURATIONS:
        spec = f"local-dir:{write_folder(folder / 'model', model_cfg=CONFIGURATIONS[request.param])}"
    export_model(spec, out=None, exports=folder)
    ours = load_model(spec, device="cpu", precision="fp32", threads=1, exports=folder)
    assert isinstance(ours, OpenVinoClip)
    return ours, load_model(spec, device="cpu", precision="fp32", runtime="torch", exports=folder)


@pytest.mark.parametrize("count", [1, 3, 16])
def test_pictures_embed_as_in_pytorch(pair: tuple[ClipModel, ClipModel], count: int) -> None:
    ours, reference = pair
    size = ours.info.preprocessing.size
    pixels = np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    embeddings = ours.embed_pixels(pixels)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)
    assert least_cosine(embeddings, reference.embed_pixels(pixels)) >= 0.99999


@pytest.mark.parametrize("count", [1, 3, 16])
def test_texts_embed_as_in_pytorch(pair: tuple[ClipModel, ClipModel], count: int) -> None:
    ours, reference = pair
    for first in range(len(TEXTS)):
        texts = [TEXTS[(first + at) % len(TEXTS)] for at in range(count)]
        mine, theirs = ours.embed_texts(texts), reference.embed_texts(texts)
        assert least_cosine(mine.embeddings, theirs.embeddings) >= 0.99999
        np.testing.assert_array_equal(mine.tokens, theirs.tokens)
        np.testing.assert_array_equal(mine.truncated, theirs.truncated)


def test_batches_share_few_shapes_that_hold_them() -> None:
    for texts in range(1, 33):
        for longest in range(1, 78):
            length = shared_length(longest, texts)
            assert longest <= length < longest + 8
            assert length < longest + 4 or texts < 4 or longest > 24  # where a step is a large share of the work
    assert (
        len({(texts, shared_length(longest, texts)) for texts in range(1, 33) for longest in range(1, 78)}) <= 32 * 13
    )


def test_a_text_is_the_same_whatever_it_is_padded_to(pair: tuple[ClipModel, ClipModel]) -> None:
    ours, _ = pair
    [alone] = ours.embed_texts(["a dog"]).embeddings
    for other in ["cat", "cat " * 3, "cat " * 9, "cat " * 30]:
        for count in (1, 5):
            beside = ours.embed_texts(["a dog", *[other] * count]).embeddings[0]
            assert float(alone @ beside) >= 0.999999


def test_what_is_told_is_the_same(pair: tuple[ClipModel, ClipModel]) -> None:
    ours, reference = pair
    assert ours.info == reference.info


@pytest.fixture(scope="module")
def exports(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small model is exported to."""
    folder = tmp_path_factory.mktemp("exports")
    export_model(f"local-dir:{small_folder}", out=folder / "small", exports=folder)
    return folder / "small"


@pytest.fixture(scope="module")
def exported(exports: Path) -> ClipModel:
    return load_model(f"local-dir:{exports}", device="cpu", precision="fp32")


@pytest.mark.skipif(native_precision() != "bf16", reason="this CPU does not compute in bf16")
def test_the_runtime_is_told(pair: tuple[ClipModel, ClipModel]) -> None:
    assert [each.info.runtime for each in pair] == ["openvino", "torch"]


def test_bf16_is_taken_where_the_cpu_has_it(exports: Path, exported: ClipModel) -> None:
    model = load_model(f"local-dir:{exports}", device="cpu")
    assert model.info.precision == "bf16"
    assert least_cosine(model.embed_texts(TEXTS).embeddings, exported.embed_texts(TEXTS).embeddings) >= 0.999


@pytest.mark.parametrize("profile", ["reference", "fast"])
def test_a_profile_changes_the_fingerprint_as_in_pytorch(exports: Path, small_folder: Path, profile: Profile) -> None:
    ours = load_model(f"local-dir:{exports}", device="cpu", precision="fp32", profile=profile).info
    theirs = load_model(f"local-dir:{small_folder}", device="cpu", precision="fp32", profile=profile).info
    assert ours == theirs
    assert ours.preprocessing.profile == profile


def test_threads_are_kept_to(exports: Path) -> None:
    model = load_model(f"local-dir:{exports}", device="cpu", threads=1)
    assert isinstance(model, OpenVinoClip)
    for request in (model._images._whole, model._texts._whole):
        assert request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == 1
        assert request.get_compiled_model().get_property("NUM_STREAMS") == 1


def test_what_was_compiled_is_kept_and_made_anew_when_damaged(
    exports: Path, exported: ClipModel, tmp_path: Path
) -> None:
    def embed() -> Any:
        model = load_model(f"local-dir:{exports}", device="cpu", precision="fp32", cache=tmp_path)
        return model.embed_texts(TEXTS).embeddings

    first = embed()
    blobs = sorted(tmp_path.rglob("*.blob"))
    assert len(blobs) == 2
    for blob in blobs:
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:1000])
    np.testing.assert_array_equal(embed(), first)
    np.testing.assert_array_equal(embed(), first)
    assert least_cosine(first, exported.embed_texts(TEXTS).embeddings) > 0.99999


def test_a_folder_that_cannot_be_written_is_no_cache(exports: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with capture_logs() as logs:
        load_model(f"local-dir:{exports}", device="cpu", cache=tmp_path / "file" / "cache")
    assert [entry["event"] for entry in logs] == ["clip_not_cached", "clip_loaded"]


@pytest.mark.parametrize(
    "pixels", [np.zeros((1, SIZE, SIZE, 3), dtype=np.float32), np.zeros((0, SIZE, SIZE, 3), dtype=np.uint8)]
)
def test_pixels_of_another_shape_are_refused(exported: ClipModel, pixels: Any) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(n, 32, 32, 3\) is needed"):
        exported.embed_pixels(pixels)


def test_pixels_in_foreign_memory_are_taken(exported: ClipModel) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])[:, :, ::-1]
    mirrored.flags.writeable = False
    np.testing.assert_array_equal(exported.embed_pixels(mirrored), exported.embed_pixels(pixels))


def test_embeddings_are_not_overwritten_by_the_next(exported: ClipModel) -> None:
    first = exported.embed_texts(["a dog"]).embeddings
    kept = first.copy()
    exported.embed_texts(["a cat"])
    np.testing.assert_array_equal(first, kept)


def test_serving_imports_neither_torch_nor_open_clip_nor_telemetry(exports: Path, tmp_path: Path) -> None:
    program = """
import json, sys
import numpy as np
from crossmodal.settings import Settings
from crossmodal.startup import build_model
model = build_model(Settings())
model.embed_texts(["a dog"]), model.embed_pixels(np.zeros((1, 32, 32, 3), np.uint8))
names = ["torch", "open_clip", "torchvision", "openvino_telemetry", "transformers", "openvino"]
print(json.dumps([name for name in names if sys.modules.get(name)]), model.info.context_length, model.info.dim)
"""
    environment = {"HOME": str(tmp_path), "CROSSMODAL_MODEL": f"local-dir:{exports}", "CROSSMODAL_DATA": str(tmp_path)}
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT, env=environment | {"CROSSMODAL_DEVICE": "cpu"}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert outcome.stdout.splitlines()[-1] == f"{json.dumps(['openvino'])} {CONTEXT} {DIM}"
    assert not (tmp_path / "intel").exists()


def test_the_preprocessing_is_a_record(exported: ClipModel) -> None:
    assert isinstance(exported.info.preprocessing, Preprocessing)
    assert exported.info.preprocessing.size == SIZE
