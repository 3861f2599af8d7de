import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest

from crossmodal.clip.catalogue import resolve
from crossmodal.clip.spec import parse_spec
from crossmodal.errors import ConfigurationError
from crossmodal.records import PairStatistics
from tests.unit.clip.model_folders import PREPROCESSING, SMALL, write_folder


def refusal(spec: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        resolve(parse_spec(spec))
    assert "\n" not in refused.value.detail
    return refused.value.detail


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        ("ViT-B32/openai", "ViT-B-32"),
        ("ViT-B/32", "ViT-B-32"),
        ("ViT-B/32/openai", "ViT-B-32"),
        ("VIT-L-14/openai", "ViT-L-14"),
        ("tinny", "tiny"),
    ],
)
def test_an_unknown_architecture_gets_the_nearest_names(spec: str, nearest: str) -> None:
    detail = refusal(spec)
    assert "there is no architecture" in detail
    assert nearest in detail.partition("nearest names are")[2].rstrip(".").replace(",", "").split()


def test_an_architecture_like_no_other_gets_a_hint() -> None:
    assert "open_clip.list_models()" in refusal("§§§/x")


def test_an_architecture_alone_gets_its_tags() -> None:
    detail = refusal("ViT-B-16")
    assert "names no weights" in detail
    for tag in open_clip.list_pretrained_tags_by_model("ViT-B-16"):
        assert tag in detail


def test_an_architecture_nobody_published_weights_for() -> None:
    assert "ViT-B-16-plus has no published weights" in refusal("ViT-B-16-plus/openai")


def test_an_unknown_tag_gets_the_nearest() -> None:
    assert "ViT-B-32/laion2b_s34b_b79k" in refusal("ViT-B-32/laion2b_s34b_b79")


def test_a_tag_of_a_sister_architecture_is_named() -> None:
    assert "ViT-B-32/laion2b_s34b_b79k" in refusal("ViT-B-32-quickgelu/laion2b_s34b_b79k")


def test_an_activation_other_than_that_of_the_training_is_refused() -> None:
    detail = refusal("ViT-B-32/openai")
    assert "trained with QuickGELU but ViT-B-32 computes GELU" in detail
    assert "use ViT-B-32-quickgelu/openai" in detail


def test_every_mismatch_of_activations_in_the_catalogue_is_met_and_its_cure_exists() -> None:
    published = open_clip.list_pretrained(as_str=True)
    mismatched = [
        f"{arch}/{tag}"
        for arch, tag in open_clip.list_pretrained()
        if open_clip.get_pretrained_cfg(arch, tag).get("quick_gelu", False) and not arch.endswith("-quickgelu")
        and not open_clip.get_model_config(arch).get("quick_gelu", False)
        and f"{arch}-quickgelu" in open_clip.list_models()
    ]  # fmt: skip
    assert len(mismatched) > 20
    for spec in mismatched:
        cure = refusal(spec).partition("; use ")[2].removesuffix(".")
        assert cure.replace("/", ":") in published


def test_weights_published_only_as_a_pickle_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = open_clip.pretrained._PRETRAINED["ViT-B-32"]
    monkeypatch.setitem(tags, "older", {"url": "https://example.org/older.pt", "hf_hub": ""})
    detail = refusal("ViT-B-32/older")
    assert "published only as a pickle" in detail
    assert "laion2b_s34b_b79k" in detail


def test_published_weights_come_from_the_cache_of_the_hub(hub_cache: Any) -> None:
    folder = hub_cache("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", {"open_clip_model.safetensors": b"weights"})
    checkpoint = resolve(parse_spec("ViT-B-32/laion2b-s34b-b79k"))
    assert checkpoint.name == "ViT-B-32/laion2b_s34b_b79k"
    assert checkpoint.weights == folder / "open_clip_model.safetensors"
    assert (checkpoint.architecture, checkpoint.tokenizer, checkpoint.bpe_path) == ("ViT-B-32", "ViT-B-32", None)
    assert checkpoint.model_cfg["embed_dim"] == 512
    assert checkpoint.preprocess_cfg == {
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }


def test_a_tag_brings_its_own_preprocessing(hub_cache: Any) -> None:
    hub_cache("timm/ViT-B-16-SigLIP", {"open_clip_model.safetensors": b"weights"})
    preprocessing = resolve(parse_spec("ViT-B-16-SigLIP/webli")).preprocess_cfg
    assert (preprocessing["mean"], preprocessing["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")


def test_weights_that_cannot_be_fetched_offline(hub_cache: Any) -> None:
    hub_cache("some/other", {})
    detail = refusal("ViT-B-32/laion2b_s34b_b79k")
    assert "ViT-B-32/laion2b_s34b_b79k" in detail
    assert "could not be fetched" in detail
    assert "local-dir:PATH" in detail


def test_a_hub_repository_gives_folder_weights_and_tokenizer(hub_cache: Any) -> None:
    config = json.dumps({"model_cfg": SMALL, "preprocess_cfg": PREPROCESSING}).encode()
    folder = hub_cache("org/small", {"open_clip_config.json": config, "open_clip_model.safetensors": b"w"})
    checkpoint = resolve(parse_spec("hf-hub:org/small"))
    assert checkpoint.architecture == checkpoint.tokenizer == f"local-dir:{folder}"
    assert checkpoint.weights == folder / "open_clip_model.safetensors"
    assert checkpoint.model_cfg == SMALL


def test_a_hub_repository_with_a_tokenizer_of_its_own_asks_the_hub_for_it(hub_cache: Any) -> None:
    text_cfg = {**SMALL["text_cfg"], "hf_tokenizer_name": "org/words"}
    config = json.dumps({"model_cfg": {**SMALL, "text_cfg": text_cfg}}).encode()
    hub_cache("org/small", {"open_clip_config.json": config, "open_clip_model.safetensors": b"w"})
    assert resolve(parse_spec("hf-hub:org/small")).tokenizer == "hf-hub:org/small"


def test_a_known_hub_repository_with_the_wrong_activation(hub_cache: Any) -> None:
    config = json.dumps({"model_cfg": open_clip.get_model_config("ViT-B-16")}).encode()
    hub_cache("apple/DFN2B-CLIP-ViT-B-16", {"open_clip_config.json": config, "open_clip_model.safetensors": b"w"})
    assert "trained with QuickGELU" in refusal("hf-hub:apple/DFN2B-CLIP-ViT-B-16")


def test_a_local_folder(small_folder: Path) -> None:
    checkpoint = resolve(parse_spec(f"local-dir:{small_folder}"))
    assert checkpoint.name == "local-dir:small"
    assert checkpoint.weights == small_folder / "open_clip_model.safetensors"
    assert checkpoint.bpe_path == small_folder / "bpe_simple_vocab.txt.gz"
    assert checkpoint.preprocess_cfg == PREPROCESSING
    assert checkpoint.calibration == {}


def test_a_folder_without_vocabulary_leaves_the_tokenizer_to_openclip(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, weights="model.safetensors", vocabulary=False)
    checkpoint = resolve(parse_spec(f"local-dir:{folder}"))
    assert checkpoint.bpe_path is None
    assert checkpoint.tokenizer == f"local-dir:{folder}"


def test_folders_that_are_not_there_or_hold_no_configuration(tmp_path: Path) -> None:
    assert "there is no folder" in refusal(f"local-dir:{tmp_path}/none")
    assert "has no open_clip_config.json" in refusal(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"model_cfg": 3}', '{"model_cfg": {"embed_dim": 3}}', '"model_cfg"', "\ufeff",
     '{"model_cfg": {"embed_dim": "3", "vision_cfg": {}, "text_cfg": {}}}',
     '{"model_cfg": {"embed_dim": 3, "vision_cfg": {}, "text_cfg": []}}'],
)  # fmt: skip
def test_a_configuration_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "open_clip_config.json").write_text(content, encoding="utf-8")
    assert "open_clip_config.json" in refusal(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "weights.pt", "model.pth", "epoch_1.ckpt"])
def test_pickled_weights_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path, weights=None)
    (folder / name).write_bytes(b"anything")
    detail = refusal(f"local-dir:{folder}")
    assert name in detail
    assert "is a pickle" in detail


def test_a_folder_without_weights(tmp_path: Path) -> None:
    assert "has no weights" in refusal(f"local-dir:{write_folder(tmp_path, weights=None)}")


def test_safetensors_are_chosen_before_pickles_and_by_name(tmp_path: Path, small_folder: Path) -> None:
    folder = write_folder(tmp_path, weights=None)
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"anything")
    shutil.copy(small_folder / "open_clip_model.safetensors", folder / "zebra.safetensors")
    assert resolve(parse_spec(f"local-dir:{folder}")).weights.name == "zebra.safetensors"
    shutil.copy(small_folder / "open_clip_model.safetensors", folder / "ant.safetensors")
    assert "which weights?" in refusal(f"local-dir:{folder}")
    shutil.copy(small_folder / "open_clip_model.safetensors", folder / "model.safetensors")
    assert resolve(parse_spec(f"local-dir:{folder}")).weights.name == "model.safetensors"


def test_the_calibration_of_a_folder_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    curves = {
        "text-image": {"midpoint": 0.25, "slope": 40, "mean": 0.1, "std": 0.03},
        "image-image": {"midpoint": 0.7, "slope": 12.5, "mean": 0.4, "std": 0.1},
    }
    (folder / "calibration.json").write_text(json.dumps({"pairs": curves}), encoding="utf-8")
    calibration = resolve(parse_spec(f"local-dir:{folder}")).calibration
    assert calibration == {
        "text-image": PairStatistics(0.25, 40.0, 0.1, 0.03),
        "image-image": PairStatistics(0.7, 12.5, 0.4, 0.1),
    }


@pytest.mark.parametrize(
    "content",
    ["{", "{}", '{"pairs": []}', '{"pairs": {"text-image": {"midpoint": 0.2}}}',
     '{"pairs": {"text-image": {"midpoint": 0.2, "slope": 3}}}', '{"pairs": {"text-image": 7}}',
     '{"pairs": {"text-sound": {"midpoint": 0.2, "slope": 3, "mean": 0, "std": 0.1}}}',
     '{"pairs": {"text-image": {"midpoint": 7, "slope": 3, "mean": 0, "std": 0.1}}}',
     '{"pairs": {"text-image": {"midpoint": 0.2, "slope": -3, "mean": 0, "std": 0.1}}}',
     '{"pairs": {"text-image": {"midpoint": 0.2, "slope": 3, "mean": 0, "std": 0}}}',
     '{"pairs": {"text-image": {"midpoint": 0.2, "slope": 3, "mean": -1.5, "std": 0.1}}}',
     '{"pairs": {"text-image": {"midpoint": 0.2, "slope": Infinity, "mean": 0, "std": 0.1}}}'],
)  # fmt: skip
def test_a_calibration_that_cannot_be_meant(tmp_path: Path, content: str) -> None:
    folder = write_folder(tmp_path)
    (folder / "calibration.json").write_text(content, encoding="utf-8")
    assert "calibration.json" in refusal(f"local-dir:{folder}")
