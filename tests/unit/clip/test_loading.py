import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from structlog.testing import capture_logs

from crossmodal.clip.base import ClipModel
from crossmodal.clip.loading import load_model
from crossmodal.clip.self_check import check_pixels, least_cosine
from crossmodal.errors import ConfigurationError
from tests.unit.clip.model_folders import (
    CONTEXT,
    DIM,
    PREPROCESSING,
    SIZE,
    SMALL,
    VOCABULARY,
    state_of,
    with_text,
    with_vision,
    write_folder,
    write_vocabulary,
)

TEXTS = ["a dog", "", "the cat and the hat " * 5]
COCA = {
    **with_text(embed_cls=True, output_tokens=True, context_length=CONTEXT - 1),
    "vision_cfg": {**SMALL["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "multimodal_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": DIM, "heads": 2, "layers": 1},
    "custom_text": True,
}


def load(folder: Path, **settings: Any) -> ClipModel:
    return load_model(f"local-dir:{folder}", **{"device": "cpu", "precision": "fp32", **settings})


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(folder, **settings)
    assert "\n" not in refused.value.detail
    return refused.value.detail


def test_a_loaded_model_embeds_as_openclip_does(small_model: ClipModel, small_folder: Path) -> None:
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{small_folder}")
    model.eval()
    tokenize = open_clip.SimpleTokenizer(bpe_path=str(small_folder / "bpe_simple_vocab.txt.gz"), context_length=CONTEXT)
    pixels = check_pixels(SIZE)
    with torch.inference_mode():
        texts = model.encode_text(tokenize(TEXTS), normalize=True).numpy()
        images = model.encode_image(
            torch.stack([preprocess(Image.fromarray(p)) for p in pixels]), normalize=True
        ).numpy()
    assert least_cosine(small_model.embed_texts(TEXTS).embeddings, texts) > 0.99999
    assert least_cosine(small_model.embed_pixels(pixels), images) > 0.99999


def test_what_a_folder_tells(small_model: ClipModel) -> None:
    info = small_model.info
    assert (info.name, info.dim, info.context_length) == ("local-dir:small", DIM, CONTEXT)
    assert (info.device, info.precision) == ("cpu", "fp32")
    assert info.preprocessing.mean == tuple(PREPROCESSING["mean"])
    assert info.logit_scale == pytest.approx(1 / 0.07)
    assert info.logit_bias is None
    assert len(info.fingerprint) == 64


def test_the_bundled_model_knows_its_pictures() -> None:
    model = load_model("tiny", device="cpu")
    assert model.info.name == "tiny"
    assert set(model.info.calibration) == {"text-image", "image-text", "image-image", "text-text"}
    pixels = np.zeros((2, model.info.preprocessing.size, model.info.preprocessing.size, 3), dtype=np.uint8)
    pixels[0, ..., 0], pixels[1, ..., 2] = 215, 215
    cosines = (
        model.embed_texts(["on a red background", "on a blue background"]).embeddings @ model.embed_pixels(pixels).T
    )
    assert cosines.argmax(axis=1).tolist() == [0, 1]


def test_loading_leaves_the_root_logger_as_it_was_and_says_nothing_of_random_weights(
    small_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), list(root.filters), root.level)
    with caplog.at_level(logging.INFO):
        load(small_folder)
    assert (list(root.handlers), list(root.filters)) == before[:2]
    assert not [record for record in caplog.records if "randomly" in record.getMessage()]


def test_a_load_is_logged_once(small_folder: Path) -> None:
    with capture_logs() as logs:
        load(small_folder)
    (loaded,) = logs
    assert (loaded["event"], loaded["model"], loaded["precision"]) == ("clip_loaded", "local-dir:small", "fp32")


def test_low_precision_is_close_and_keeps_the_fingerprint(small_model: ClipModel, small_folder: Path) -> None:
    low = load(small_folder, precision="bf16")
    assert low.info.precision == "bf16"
    assert low.info.fingerprint == small_model.info.fingerprint
    assert low.info.logit_scale == small_model.info.logit_scale
    pixels = check_pixels(SIZE)
    assert 0.999 < least_cosine(low.embed_pixels(pixels), small_model.embed_pixels(pixels)) < 1.0
    texts = low.embed_texts(TEXTS).embeddings
    assert least_cosine(texts, small_model.embed_texts(TEXTS).embeddings) > 0.999
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1.0, atol=1e-6)


def test_a_copy_under_another_name_is_the_same_model(
    small_model: ClipModel, small_folder: Path, tmp_path: Path
) -> None:
    copied = load(Path(shutil.copytree(small_folder, tmp_path / "copy")))
    assert copied.info == replace(small_model.info, name="local-dir:copy")


def test_other_weights_pixels_or_words_are_another_model(small_model: ClipModel, tmp_path: Path) -> None:
    others = [
        write_folder(tmp_path / "weights", state=state_of(SMALL, seed=1)),
        write_folder(tmp_path / "pixels", preprocess_cfg={**PREPROCESSING, "resize_mode": "squash"}),
        write_folder(tmp_path / "heads", model_cfg=with_text(heads=4), state=state_of(SMALL)),
    ]
    prints = {small_model.info.fingerprint, *(load(folder).info.fingerprint for folder in others)}
    assert len(prints) == 4


def test_a_cleaning_asked_for_by_the_folder_is_used(tmp_path: Path) -> None:
    model = load(write_folder(tmp_path, model_cfg=with_text(tokenizer_kwargs={"clean": "canonicalize"})))
    one, other = model.embed_texts(["A dog!", "a dog"]).embeddings
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_weights_of_the_hub_are_loaded(
    hub_cache: Callable[[str, Mapping[str, bytes]], Path], small_folder: Path
) -> None:
    # Without a vocabulary of its own the model speaks CLIP's.
    model_cfg = with_text(vocab_size=49408)
    content = write_folder(small_folder.parent / "for_hub", model_cfg=model_cfg)
    names = ("open_clip_config.json", "open_clip_model.safetensors")
    hub_cache("org/small", {name: (content / name).read_bytes() for name in names})
    model = load_model("hf-hub:org/small", device="cpu", precision="fp32")
    assert model.info.name == "hf-hub:org/small"
    assert model.embed_texts(["a photo of a dog"]).tokens.tolist() == [7]


def test_no_weights_without_a_connection(hub_cache: Callable[[str, Mapping[str, bytes]], Path]) -> None:
    hub_cache("some/other", {})
    with pytest.raises(ConfigurationError, match="ViT-B-32/laion2b_s34b_b79k: its files could not be fetched"):
        load_model("ViT-B-32/laion2b_s34b_b79k", device="cpu")


@pytest.mark.parametrize("kept", [0, 7, 100, 5000])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    folder = write_folder(tmp_path)
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "is damaged or no safetensors file" in refusal(folder)


def test_a_pickle_under_the_name_of_safetensors_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, weights=None)
    torch.save(state_of(SMALL), folder / "open_clip_model.safetensors")
    assert "is damaged or no safetensors file" in refusal(folder)


def changed(change: Callable[[dict[str, torch.Tensor]], object], **config: Any) -> dict[str, torch.Tensor]:
    state = state_of({**SMALL, **config})
    change(state)
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (changed(lambda s: s.pop("ln_final.weight")), "1 tensors missing (first ln_final.weight)"),
        (changed(lambda s: s.pop("logit_scale")), "1 tensors missing (first logit_scale)"),
        (changed(lambda s: s.update(extra=torch.ones(1))), "1 tensors not of this architecture (first extra)"),
        (changed(lambda s: s.update(logit_bias=torch.ones(()))), "1 tensors not of this architecture (first logit_bias)"),
        (changed(lambda s: s.update(text_projection=torch.ones(32, 64))), "of another shape (first text_projection)"),
        (changed(lambda s: s.update(positional_embedding=torch.ones(77, 32))), "positional_embedding is (77, 32)"),
        (changed(lambda _: 0, **with_vision(image_size=64)), "visual.positional_embedding is (17, 32)"),
        ({"weight": torch.ones(1)}, "tensors missing"),
        ({}, "tensors missing"),
    ],
)  # fmt: skip
def test_tensors_that_are_not_the_models_are_refused(tmp_path: Path, state: dict[str, torch.Tensor], said: str) -> None:
    detail = refusal(write_folder(tmp_path, state=state))
    assert "open_clip_model.safetensors does not fit" in detail
    assert said in detail


def test_a_missing_bias_of_the_logits_is_not_made_up(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, model_cfg={**SMALL, "init_logit_bias": -10.0}, state=state_of(SMALL))
    assert "logit_bias is missing" in refusal(folder)


def test_the_bias_of_the_logits_is_read(tmp_path: Path) -> None:
    config = {**SMALL, "init_logit_bias": 0.0}
    state = state_of(config)
    state["logit_bias"] = torch.tensor([-10.125])  # saved with a dimension, as some are
    state["logit_scale"] = torch.tensor([4.7])
    info = load(write_folder(tmp_path, model_cfg=config, state=state), precision="bf16").info
    assert info.logit_bias == -10.125
    assert info.logit_scale == pytest.approx(np.exp(4.7), rel=1e-6)


def test_text_weights_in_the_older_layout_are_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, model_cfg={**SMALL, "custom_text": True}, state=state_of(SMALL))
    assert load(folder).info.dim == DIM
    state = state_of(SMALL)
    state["positional_embedding"] = torch.ones(77, 32)
    save_file(state, folder / "open_clip_model.safetensors")
    assert "positional_embedding is (77, 32)" in refusal(folder)


@pytest.mark.parametrize("change", [with_text(widht=3), with_vision(pool_type="max"), with_text(heads=3)])
def test_an_architecture_that_cannot_be_built_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    detail = refusal(write_folder(tmp_path, model_cfg=change, state=state_of(SMALL)))
    assert "OpenCLIP cannot build this architecture" in detail


def test_a_dimension_the_projection_does_not_give_is_refused(tmp_path: Path) -> None:
    config = {**with_text(proj_type="none", width=64), "custom_text": True}
    assert "embeddings of texts are (64,)" in refusal(write_folder(tmp_path, model_cfg=config, state=state_of(config)))


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    write_vocabulary(folder / "bpe_simple_vocab.txt.gz", merges=100)
    assert f"tokenizer knows {VOCABULARY - 100} tokens, its text tower {VOCABULARY}" in refusal(folder)
    (folder / "bpe_simple_vocab.txt.gz").unlink()
    assert f"tokenizer knows 49408 tokens, its text tower {VOCABULARY}" in refusal(folder)


def test_a_damaged_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "bpe_simple_vocab.txt.gz").write_bytes(b"not gzip")
    assert "its tokenizer cannot be had" in refusal(folder)


def test_a_hub_tokenizer_that_is_not_in_the_folder_is_refused(tmp_path: Path) -> None:
    config = with_text(hf_tokenizer_name="org/words")
    assert "its tokenizer cannot be had" in refusal(write_folder(tmp_path, model_cfg=config, vocabulary=False))


def test_the_size_of_the_architecture_is_the_one_that_counts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, preprocess_cfg={**PREPROCESSING, "size": 224})
    assert load(folder).info.preprocessing.size == SIZE


def test_pictures_that_are_not_square_are_refused(tmp_path: Path) -> None:
    assert "32 x 64 pixels" in refusal(write_folder(tmp_path, model_cfg=with_vision(image_size=[32, 64])))


@pytest.fixture(scope="module")
def coca_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    towers = {key: value for key, value in COCA.items() if key != "custom_text"}
    state = {name: tensor.clone() for name, tensor in open_clip.CoCa(**towers).state_dict().items()}
    return write_folder(tmp_path_factory.mktemp("coca") / "coca", model_cfg=COCA, state=state)


def test_a_precision_the_model_cannot_compute_in_is_refused_when_asked_for(coca_folder: Path) -> None:
    assert "does not run in bf16 on cpu" in refusal(coca_folder, precision="bf16")


def test_a_precision_the_model_cannot_compute_in_is_left_when_chosen_here(
    coca_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    with capture_logs() as logs:
        model = load(coca_folder, precision="auto")
    assert model.info.precision == "fp32"
    assert [entry["event"] for entry in logs] == ["clip_precision_fallback", "clip_loaded"]
    assert logs[0]["refused"] == "bf16"
    assert model.embed_texts(TEXTS).embeddings.shape == (3, DIM)


def test_settings_that_cannot_be_met_are_refused_before_anything_is_loaded() -> None:
    for settings, said in (
        ({"device": "tpu"}, "auto, cpu, cuda or cuda:N"),
        ({"precision": "fp64"}, "auto, fp32, bf16, fp16"),
        ({"threads": 0}, "at least 1"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            load_model("tiny", **settings)


def test_threads_are_set(small_folder: Path) -> None:
    before = torch.get_num_threads()
    load(small_folder, threads=1)
    try:
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
