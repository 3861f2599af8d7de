import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from structlog.testing import capture_logs

from crossmodal.clip.base import ClipModel
from crossmodal.clip.self_check import check_pixels, least_cosine
from crossmodal.clip.text import BpeTokenizer, adapt_tokenizer
from crossmodal.clip.torch_runtime import TorchClip
from crossmodal.errors import ConfigurationError, ModelUnavailable
from crossmodal.records import PairStatistics
from tests.unit.clip.host_accelerator import HostAccelerator, HostStreams
from tests.unit.clip.hub_tokenizer import hub_tokenizer
from tests.unit.clip.model_folders import CONTEXT, DIM, PREPROCESSING, SIZE, SMALL, build, with_text

TEXTS = ["a dog", "", "two cats on a mat", "東京 🙂", "over " * 40]


def runtime(model: Any, tokenizer: Any, **changes: Any) -> TorchClip:
    open_clip.factory.set_model_preprocess_cfg(model, PREPROCESSING)
    settings = {"name": "m", "dim": DIM, "fingerprint": "f", "device": "cpu", "precision": "fp32", **changes}
    return TorchClip(model, tokenizer, **settings)


def test_texts_give_unit_rows_lengths_and_what_was_cut(small_model: ClipModel) -> None:
    embeddings, tokens, truncated = small_model.embed_texts(TEXTS)
    assert embeddings.shape == (5, DIM)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)
    assert truncated.tolist() == [False, False, False, False, True]
    assert tokens[1] == 2
    assert tokens[4] == 2 + 40 * 2  # "over" takes two pieces of the small vocabulary
    assert float(embeddings[0] @ embeddings[2]) < 0.99


def test_a_text_embeds_alone_as_among_others(small_model: ClipModel) -> None:
    together = small_model.embed_texts(TEXTS).embeddings
    alone = np.concatenate([small_model.embed_texts([text]).embeddings for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_special_tokens_do_not_blank_the_rest(small_model: ClipModel) -> None:
    one, other = small_model.embed_texts(["<end_of_text> red", "<end_of_text> blue"]).embeddings
    assert float(one @ other) < 0.999


def test_pixels_give_unit_rows(small_model: ClipModel) -> None:
    embeddings = small_model.embed_pixels(check_pixels(SIZE))
    assert embeddings.shape == (2, DIM)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-6)
    assert float(embeddings[0] @ embeddings[1]) < 0.99


def test_pixels_in_foreign_memory_are_taken(small_model: ClipModel) -> None:
    pixels = check_pixels(SIZE)
    expected = small_model.embed_pixels(pixels)
    received = np.frombuffer(pixels.tobytes(), dtype=np.uint8).reshape(pixels.shape)
    assert not received.flags.writeable
    np.testing.assert_array_equal(small_model.embed_pixels(received), expected)
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])[:, :, ::-1]
    np.testing.assert_array_equal(small_model.embed_pixels(mirrored), expected)
    np.testing.assert_array_equal(pixels, check_pixels(SIZE))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, SIZE, SIZE, 3), dtype=np.float32),
        np.zeros((1, SIZE, SIZE + 1, 3), dtype=np.uint8),
        np.zeros((SIZE, SIZE, 3), dtype=np.uint8),
        np.zeros((0, SIZE, SIZE, 3), dtype=np.uint8),
    ],
)
def test_pixels_of_another_shape_are_refused(small_model: ClipModel, pixels: Any) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(n, 32, 32, 3\) is needed"):
        small_model.embed_pixels(pixels)


def test_what_is_told_of_a_model(small_tokenizer: SimpleTokenizer) -> None:
    model = build({**SMALL, "init_logit_scale": 2.0, "init_logit_bias": -10.0})
    measured = {"text-image": PairStatistics(0.2, 40.0, 0.1, 0.03)}
    info = runtime(model, BpeTokenizer(small_tokenizer), calibration=measured).info
    assert (info.name, info.dim, info.context_length, info.fingerprint) == ("m", DIM, CONTEXT, "f")
    assert (info.device, info.precision, info.preprocessing.size) == ("cpu", "fp32", SIZE)
    assert info.logit_scale == pytest.approx(np.exp(2.0))
    assert info.logit_bias == -10.0
    assert info.calibration == measured


def test_a_bidirectional_tower_with_a_hub_tokenizer_runs_whole() -> None:
    config = {**with_text(no_causal_mask=True, pool_type="last", vocab_size=500), "custom_text": True}
    model = build(config)
    clip = runtime(model, adapt_tokenizer(hub_tokenizer(CONTEXT)))
    with torch.inference_mode():
        reference = model.encode_text(hub_tokenizer(CONTEXT)(TEXTS), normalize=True).numpy()
    assert least_cosine(clip.embed_texts(TEXTS).embeddings, reference) > 0.99999


def test_a_cut_tower_that_differs_is_replaced_with_a_warning(small_tokenizer: SimpleTokenizer) -> None:
    model = build(SMALL)
    stock = model.encode_text

    def other(ids: torch.Tensor, *, normalize: bool = False) -> torch.Tensor:
        features: torch.Tensor = stock(ids, normalize=normalize)
        return features.roll(1, dims=-1)

    model.encode_text = other
    with capture_logs() as logs:
        clip = runtime(model, BpeTokenizer(small_tokenizer))
    (warning,) = logs
    assert (warning["event"], warning["log_level"], warning["model"]) == ("clip_text_not_cut", "warning", "m")
    assert warning["cosine"] < 0.9999
    with torch.inference_mode():
        reference = other(small_tokenizer(TEXTS), normalize=True).numpy()
    assert least_cosine(clip.embed_texts(TEXTS).embeddings, reference) > 0.99999


def test_no_warning_where_cutting_is_exact(small_tokenizer: SimpleTokenizer) -> None:
    with capture_logs() as logs:
        runtime(build(SMALL), BpeTokenizer(small_tokenizer))
    assert logs == []


def test_pictures_that_come_out_otherwise_than_openclips_are_refused(small_tokenizer: SimpleTokenizer) -> None:
    class Shifted(TorchClip):
        """Prepares pictures for another mean than the model's."""

        def embed_pixels(self, pixels: Any) -> Any:
            self._mean = self._mean * 0.1
            return super().embed_pixels(pixels)

    model = build(SMALL)
    open_clip.factory.set_model_preprocess_cfg(model, PREPROCESSING)
    with pytest.raises(ConfigurationError, match=r"otherwise than OpenCLIP's own in fp32 on cpu: cosine 0\.\d+"):
        Shifted(
            model, BpeTokenizer(small_tokenizer), name="m", dim=DIM, fingerprint="f", device="cpu", precision="fp32"
        )


def test_a_dimension_other_than_the_configurations_is_refused(small_tokenizer: SimpleTokenizer) -> None:
    with pytest.raises(ConfigurationError, match=r"\(32,\), its configuration says \(64,\)"):
        runtime(build(SMALL), BpeTokenizer(small_tokenizer), dim=64)


@pytest.mark.parametrize(("weights", "what"), [("visual.proj", "pictures"), ("text_projection", "texts")])
def test_weights_that_are_no_numbers_are_refused(small_tokenizer: SimpleTokenizer, weights: str, what: str) -> None:
    model = build(SMALL)
    with torch.no_grad():
        model.get_parameter(weights)[0, 0] = float("nan")
    with pytest.raises(ConfigurationError, match=f"{what} in fp32 are not finite"):
        runtime(model, BpeTokenizer(small_tokenizer))


def test_the_least_cosine_is_minus_one_for_what_cannot_be_compared() -> None:
    row = np.array([[1.0, 0.0]], dtype=np.float32)
    assert least_cosine(row, row) == 1.0
    assert least_cosine(row, np.array([[np.nan, 0.0]], dtype=np.float32)) == -1.0
    assert least_cosine(row, np.ones((2, 2), dtype=np.float32)) == -1.0
    assert least_cosine(row * 2, row) == -1.0
    assert least_cosine(row, row * 0) == -1.0


def test_the_pictures_of_the_check_are_real_ones() -> None:
    slopes, noise = check_pixels(48)
    assert Image.fromarray(slopes).size == (48, 48)
    assert (slopes[0, 0].tolist(), slopes[-1, -1].tolist()) == ([0, 0, 255], [255, 255, 0])
    assert noise.std() > 70


@pytest.fixture
def bpe(small_tokenizer: SimpleTokenizer) -> BpeTokenizer:
    return BpeTokenizer(small_tokenizer)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many there are for PyTorch, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "expected"), [(1, (1, False, 16, 32)), (2, (2, True, 8, 16)), (3, (2, True, 8, 16))])
def test_two_calls_at_a_time_where_there_are_two_threads(
    bpe: BpeTokenizer, threads: Callable[[int], None], count: int, expected: tuple[int, bool, int, int]
) -> None:
    threads(count)
    info = runtime(build(SMALL), bpe).info
    assert (info.calls, info.side_by_side, info.batch_images, info.batch_texts) == expected


def test_calls_that_meet_have_a_share_of_the_threads_and_give_the_same(
    bpe: BpeTokenizer, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads(4)
    clip = runtime(build(SMALL), bpe)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, SIZE, SIZE, 3), dtype=np.uint8)
    alone = [clip.embed_pixels(each) for each in pixels]
    began, met = threading.Event(), threading.Event()
    had: list[int] = []
    encode = clip._model.encode_image

    def watched(*given: Any, **named: Any) -> Any:
        had.append(torch.get_num_threads())
        if not began.is_set():
            began.set()
            assert met.wait(30)
        return encode(*given, **named)

    monkeypatch.setattr(clip._model, "encode_image", watched)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        first = one.submit(clip.embed_pixels, pixels[0])
        assert began.wait(30)
        np.testing.assert_allclose(other.submit(clip.embed_pixels, pixels[1]).result(30), alone[1], atol=1e-6)
        met.set()
        np.testing.assert_allclose(first.result(30), alone[0], atol=1e-6)
        assert had == [4, 2]
        assert [each.submit(torch.get_num_threads).result(30) for each in (one, other)] == [4, 4]


def test_many_threads_at_once_get_each_their_own(bpe: BpeTokenizer) -> None:
    clip = runtime(build(SMALL), bpe)
    texts = [f"number {number}" for number in range(40)]
    alone = np.concatenate([clip.embed_texts([text]).embeddings for text in texts])
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: clip.embed_texts([text]).embeddings, texts * 3))
    np.testing.assert_allclose(np.concatenate(together), np.tile(alone, (3, 1)), atol=1e-5)


def accelerated(tokenizer: BpeTokenizer, accelerator: HostAccelerator) -> TorchClip:
    return runtime(build(SMALL), tokenizer, accelerator=accelerator)


def test_through_a_conveyor_the_embeddings_are_the_same(bpe: BpeTokenizer) -> None:
    accelerator = HostAccelerator()
    with capture_logs() as logs:
        clip = accelerated(bpe, accelerator)
    assert logs == []
    assert (clip.info.calls, clip.info.batch_images, clip.info.batch_texts) == (2, 128, 256)
    plain = runtime(build(SMALL), bpe)
    assert not clip.info.side_by_side
    accelerator.replayed.clear()
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_allclose(clip.embed_pixels(pixels), plain.embed_pixels(pixels), atol=1e-5)
    ours, theirs = clip.embed_texts(TEXTS), plain.embed_texts(TEXTS)
    np.testing.assert_allclose(ours.embeddings, theirs.embeddings, atol=1e-5)
    assert ours.tokens.tolist() == theirs.tokens.tolist()
    assert accelerator.replayed == [(8, SIZE, SIZE, 3), (8, CONTEXT)]


def test_more_than_the_largest_batch_goes_through_a_conveyor_too(bpe: BpeTokenizer) -> None:
    clip = accelerated(bpe, HostAccelerator())
    texts = [f"number {number}" for number in range(300)]
    together = clip.embed_texts(texts).embeddings
    assert together.shape == (300, DIM)
    np.testing.assert_allclose(together[299:], clip.embed_texts(texts[299:]).embeddings, atol=1e-5)


def test_without_recordings_the_embeddings_are_the_same(bpe: BpeTokenizer) -> None:
    accelerator = HostAccelerator()
    clip = accelerated(bpe, accelerator)
    before = clip.embed_texts(TEXTS).embeddings
    clip.forget_recordings()
    accelerator.replayed.clear()
    np.testing.assert_allclose(clip.embed_texts(TEXTS).embeddings, before, atol=1e-5)
    assert accelerator.replayed == []


def test_texts_of_a_tower_that_needs_every_position_are_recorded_whole() -> None:
    config = {**with_text(no_causal_mask=True, pool_type="last", vocab_size=500), "custom_text": True}
    accelerator = HostAccelerator()
    clip = runtime(build(config), adapt_tokenizer(hub_tokenizer(CONTEXT)), accelerator=accelerator)
    accelerator.replayed.clear()
    clip.embed_texts(["a dog"])
    assert accelerator.replayed == [(1, CONTEXT)]


def test_recordings_that_embed_otherwise_are_replaced_with_a_warning(bpe: BpeTokenizer) -> None:
    with capture_logs() as logs:
        clip = accelerated(bpe, HostAccelerator(wrong=True))
    assert [(line["event"], line["tower"]) for line in logs] == [
        ("clip_recordings_not_used", "images"),
        ("clip_recordings_not_used", "texts"),
    ]
    plain = runtime(build(SMALL), bpe)
    np.testing.assert_allclose(clip.embed_texts(TEXTS).embeddings, plain.embed_texts(TEXTS).embeddings, atol=1e-5)


class LossyAccelerator(HostAccelerator):
    """Recordings are right; what is sent to the device arrives as zeros."""

    def streams(self) -> HostStreams:
        class Lossy(HostStreams):
            @contextmanager
            def compute(self) -> Iterator[None]:
                self.sent.zero_()
                with super().compute():
                    yield

            sent = torch.zeros(0, dtype=torch.uint8)

            def memory(self, count: int) -> torch.Tensor:
                self.sent = super().memory(count)
                return self.sent

        return Lossy(self)


def test_a_conveyor_that_embeds_otherwise_is_not_used(bpe: BpeTokenizer) -> None:
    with capture_logs() as logs:
        clip = accelerated(bpe, LossyAccelerator())
    (warning,) = logs
    assert (warning["event"], warning["log_level"]) == ("clip_not_accelerated", "warning")
    assert "come out otherwise: cosine" in warning["reason"]
    plain = runtime(build(SMALL), bpe)
    assert (clip.info.calls, clip.info.batch_images) == (plain.info.calls, plain.info.batch_images)
    np.testing.assert_array_equal(clip.embed_texts(TEXTS).embeddings, plain.embed_texts(TEXTS).embeddings)


class AbsentAccelerator(HostAccelerator):
    """Has no memory to copy from."""

    def host_memory(self, count: int) -> torch.Tensor:
        raise RuntimeError(f"cannot pin {count} bytes")


def test_a_device_that_fails_at_the_start_is_used_plainly(bpe: BpeTokenizer) -> None:
    with capture_logs() as logs:
        clip = accelerated(bpe, AbsentAccelerator())
    assert [line["event"] for line in logs] == ["clip_not_accelerated"]
    assert logs[0]["reason"].startswith("cannot pin")
    assert clip.embed_pixels(check_pixels(SIZE)).shape == (2, DIM)


class DoomedModel:
    """A model whose device can be ``lost``: every call fails from then on."""

    def __init__(self, model: Any) -> None:
        self._encode = model.encode_image
        self.lost = False
        model.encode_image = self

    def __call__(self, pixels: torch.Tensor, *, normalize: bool = False) -> torch.Tensor:
        if self.lost:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        features: torch.Tensor = self._encode(pixels, normalize=normalize)
        return features


def test_a_lost_device_makes_the_model_unavailable(bpe: BpeTokenizer) -> None:
    model = build(SMALL)
    device = DoomedModel(model)
    clip = runtime(model, bpe)
    assert clip.embed_pixels(check_pixels(SIZE)).shape == (2, DIM)
    device.lost = True
    with capture_logs() as logs, pytest.raises(ModelUnavailable, match="device that runs the model failed"):
        clip.embed_pixels(check_pixels(SIZE))
    assert [(line["event"], line["log_level"]) for line in logs] == [("clip_device_lost", "error")]
