"""Layers in another form: the same results, in the same places, and the way back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import LayerNormFp32
from structlog.testing import capture_logs
from torch.nn import functional

from crossmodal.clip import torch_runtime
from crossmodal.clip.device import Precision
from crossmodal.clip.gpu_layers import PatchProduct, PlainNorm, replace_layers
from crossmodal.clip.self_check import least_cosine
from crossmodal.clip.text import BpeTokenizer
from crossmodal.clip.torch_runtime import TorchClip
from tests.unit.clip.host_accelerator import HostAccelerator
from tests.unit.clip.model_folders import DIM, PREPROCESSING, SIZE, SMALL, build, with_vision

TEXTS = ["a dog", "", "two cats on a mat"]


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80), (37, 47)])
def test_a_product_of_patches_is_the_convolution(height: int, width: int, memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 24, 16, 16, bias=False)
    batch = torch.randn(5, 3, height, width).to(memory_format=memory)
    with torch.inference_mode():
        expected, ours = convolution(batch), PatchProduct(convolution)(batch)
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_norm_in_the_models_numbers_is_the_one_in_fp32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm = LayerNormFp32(64)
    torch.nn.init.normal_(norm.weight, 1, 0.2)
    torch.nn.init.normal_(norm.bias)
    x = (torch.randn(3, 7, 64) * 20 + 5).to(dtype)
    with torch.inference_mode():
        expected, ours = norm(x), PlainNorm(norm, dtype)(x)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, expected, atol=0.03, rtol=0.02)
    assert functional.cosine_similarity(ours.float(), expected.float(), dim=-1).min() > 0.9999


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 8},
        {"padding": 1},
        {"bias": True},
        {"groups": 3},
        {"kernel_size": (16, 8), "stride": (16, 8)},
        {"dilation": 2},
    ],
)
def test_other_convolutions_stay(changes: dict[str, Any]) -> None:
    model = build(SMALL)
    model.visual.conv1 = torch.nn.Conv2d(3, 33, **{"kernel_size": 16, "stride": 16, "bias": False} | changes)
    before = model.visual.conv1
    replace_layers(model, torch.float32)
    assert model.visual.conv1 is before


def test_towers_of_another_make_stay() -> None:
    model = build(with_vision(layers=[1, 1, 1, 1], width=16))  # a ResNet
    before = dict(model.named_modules())
    replace_layers(model, torch.float32)
    assert dict(model.named_modules()) == before


def in_bf16() -> Any:
    torch.manual_seed(0)
    return open_clip.CLIP(**SMALL, cast_dtype=torch.bfloat16).eval()


def test_everything_is_replaced_and_put_back() -> None:
    model = in_bf16()
    open_clip.convert_weights_to_lp(model, dtype=torch.bfloat16)
    before = dict(model.named_modules())
    norms = [name for name, layer in before.items() if isinstance(layer, LayerNormFp32)]
    put_back = replace_layers(model, torch.bfloat16)
    now = dict(model.named_modules())
    changed = {name: type(now[name]) for name in before if now[name] is not before[name]}
    assert changed == {"visual.conv1": PatchProduct, **dict.fromkeys(norms, PlainNorm)}
    assert len(norms) == 2 * 2 + 2 * 2 + 3
    put_back()
    assert dict(model.named_modules()) == before


def clip_in(precision: Precision, tokenizer: BpeTokenizer, accelerator: HostAccelerator | None) -> TorchClip:
    model = build(SMALL) if precision == "fp32" else in_bf16()
    if precision == "bf16":
        open_clip.convert_weights_to_lp(model, dtype=torch.bfloat16)
    model.visual.preprocess_cfg = PREPROCESSING
    return TorchClip(
        model,
        tokenizer,
        name="small",
        dim=DIM,
        fingerprint="0",
        device="cpu",
        precision=precision,
        accelerator=accelerator,
    )


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999999), ("bf16", 0.9995)])
def test_embeddings_are_those_of_the_layers_before(
    small_tokenizer: SimpleTokenizer, precision: Precision, least: float
) -> None:
    tokenizer = BpeTokenizer(small_tokenizer)
    with capture_logs() as logs:
        ours = clip_in(precision, tokenizer, HostAccelerator())
    assert logs == []
    assert isinstance(ours._model.visual.conv1, PatchProduct)
    plain = clip_in(precision, tokenizer, None)
    pixels = np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8)
    assert least_cosine(ours.embed_pixels(pixels), plain.embed_pixels(pixels)) >= least
    assert least_cosine(ours.embed_texts(TEXTS).embeddings, plain.embed_texts(TEXTS).embeddings) >= least


def doubling(model: Any, _dtype: torch.dtype) -> Callable[[], None]:
    """Replace by something that is wrong."""
    before = model.visual.ln_pre
    model.visual.ln_pre = torch.nn.Sequential(before, torch.nn.Softmax(-1))

    def put_back() -> None:
        model.visual.ln_pre = before

    return put_back


def failing(model: Any, dtype: torch.dtype) -> Callable[[], None]:
    """Replace by something that does not run."""
    put_back = doubling(model, dtype)
    model.visual.ln_pre = torch.nn.Linear(1, 1)
    return put_back


@pytest.mark.parametrize(
    ("replacing", "reason"), [(doubling, "come out otherwise: cosine"), (failing, "shapes cannot")]
)
def test_layers_that_embed_otherwise_are_put_back_with_a_warning(
    small_tokenizer: SimpleTokenizer, monkeypatch: pytest.MonkeyPatch, replacing: Any, reason: str
) -> None:
    monkeypatch.setattr(torch_runtime, "replace_layers", replacing)
    tokenizer = BpeTokenizer(small_tokenizer)
    with capture_logs() as logs:
        clip = clip_in("fp32", tokenizer, HostAccelerator())
    (warning,) = logs
    assert (warning["event"], warning["log_level"]) == ("clip_layers_not_replaced", "warning")
    assert reason in warning["reason"]
    assert clip.info.calls == 2  # recorded all the same
    plain = clip_in("fp32", tokenizer, None)
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_allclose(clip.embed_pixels(pixels), plain.embed_pixels(pixels), atol=1e-5)
