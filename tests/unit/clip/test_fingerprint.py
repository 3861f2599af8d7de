import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from open_clip.tokenizer import SimpleTokenizer

from crossmodal.clip.fingerprint import fingerprint, hash_weights
from crossmodal.clip.loading import load_model
from crossmodal.clip.preprocessing import preprocessing_of
from crossmodal.clip.text import BpeTokenizer
from tests.unit.clip.model_folders import DIM, PREPROCESSING, SMALL, with_text, with_vision


def test_everything_that_moves_embeddings_changes_it(small_tokenizer: SimpleTokenizer) -> None:
    preparing = preprocessing_of(PREPROCESSING, name="m")
    tokenizer = BpeTokenizer(small_tokenizer)
    base: dict[str, Any] = {
        "model_cfg": SMALL, "weights": "ab", "preprocessing": preparing, "dim": DIM, "tokenizer": tokenizer,
    }  # fmt: skip
    changes: list[dict[str, Any]] = [
        {},
        {"weights": "cd"},
        {"dim": DIM + 1},
        {"model_cfg": {**SMALL, "quick_gelu": True}},
        {"model_cfg": with_text(heads=4)},
        {"model_cfg": with_text(no_causal_mask=True)},
        {"model_cfg": with_vision(head_width=32)},
        {"preprocessing": replace(preparing, interpolation="bilinear")},
        {"preprocessing": replace(preparing, resize_mode="squash")},
        {"preprocessing": replace(preparing, mean=(0.5, 0.5, 0.5))},
        {"preprocessing": replace(preparing, profile="reference")},
        {"preprocessing": replace(preparing, profile="fast")},
        {"tokenizer": BpeTokenizer(SimpleTokenizer(context_length=small_tokenizer.context_length))},
    ]
    prints = {fingerprint(**{**base, **change}) for change in changes}
    assert len(prints) == len(changes)
    assert all(len(each) == 64 and set(each) <= set("0123456789abcdef") for each in prints)


def test_what_leaves_embeddings_alone_leaves_it_alone(small_tokenizer: SimpleTokenizer) -> None:
    def of(model_cfg: dict[str, Any]) -> str:
        preparing = preprocessing_of(PREPROCESSING, name="m")
        return fingerprint(
            model_cfg=model_cfg, weights="ab", preprocessing=preparing, dim=DIM, tokenizer=BpeTokenizer(small_tokenizer)
        )

    assert of(with_text(pool_type="argmax", no_causal_mask=False)) == of(SMALL)  # OpenCLIP's defaults, spelled out
    assert of(with_vision(timm_drop=0.1, patch_dropout=0.5)) == of(SMALL)
    assert of({**SMALL, "init_logit_scale": 1.0}) == of(SMALL)


def test_the_digest_of_a_file(tmp_path: Path) -> None:
    content = b"weights" * 100_000
    (tmp_path / "file").write_bytes(content)
    assert hash_weights(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_the_bundled_model_keeps_the_fingerprint_that_collections_were_made_with() -> None:
    standard = load_model("tiny", device="cpu", precision="fp32").info
    assert standard.fingerprint.startswith("2f73fd73")
    assert standard.preprocessing.profile == "standard"
    reference = load_model("tiny", device="cpu", precision="fp32", profile="reference").info
    assert reference.fingerprint != standard.fingerprint
    assert reference.preprocessing == replace(standard.preprocessing, profile="reference")
    fast = load_model("tiny", device="cpu", precision="fp32", profile="fast").info
    assert fast.fingerprint not in {standard.fingerprint, reference.fingerprint}
