"""The port's first adapter: a CLIP model run by PyTorch, on the CPU or through a conveyor on a GPU."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import structlog
import torch

from crossmodal.clip import self_check
from crossmodal.clip.accelerator import Accelerator
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.clip.buckets import IMAGE_ITEMS, TEXT_ITEMS, Shape, image_shapes, text_shapes
from crossmodal.clip.conveyor import Batch, Conveyor, Tower
from crossmodal.clip.cores import BATCH_IMAGES, BATCH_TEXTS, CALLS, Cores
from crossmodal.clip.device import Precision, torch_dtype
from crossmodal.clip.gpu_layers import replace_layers
from crossmodal.clip.preprocessing import preprocessing_of
from crossmodal.clip.text import Tokenizer
from crossmodal.clip.text_tower import CutTextTower, StockTextTower, TextTower, cuttable_tower, unit, unit_rows
from crossmodal.errors import ConfigurationError, ModelUnavailable
from crossmodal.records import Embeddings, Pixels, Profile, Statistics

__all__ = ["TorchClip"]

_log = structlog.get_logger(__name__)


class TorchClip:
    """An OpenCLIP model on one device in one precision; implements ``ClipModel``.

    ``model`` is built in ``precision`` and is taken over; ``dim`` is the length of its embeddings. At the start it is
    compared with OpenCLIP's own functions, which also warms it up: ConfigurationError when pictures come out
    otherwise, a warning and OpenCLIP's own text tower when texts do. With an ``accelerator``, which is made for CUDA
    devices, batches go through a conveyor as long as its embeddings are the same; else plainly, with a warning.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        name: str,
        dim: int,
        fingerprint: str,
        device: str,
        precision: Precision,
        calibration: Statistics | None = None,
        profile: Profile = "standard",
        accelerator: Accelerator | None = None,
    ) -> None:
        self._model = model.eval().to(device)
        if device.startswith(
            "cuda"
        ):  # pixels come with the colours last, which is also what tensor cores multiply fastest
            self._model = self._model.to(memory_format=torch.channels_last)
        self._tokenizer = tokenizer
        self._dtype = torch_dtype(precision)
        preprocessing = preprocessing_of(model.visual.preprocess_cfg, name=name, profile=profile)
        mean, std = (torch.tensor(values, device=device) * 255 for values in (preprocessing.mean, preprocessing.std))
        self._mean, self._std = mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)
        bias = model.logit_bias
        self.info = ModelInfo(
            name=name,
            dim=dim,
            context_length=tokenizer.context_length,
            preprocessing=preprocessing,
            fingerprint=fingerprint,
            device=device,
            precision=precision,
            logit_scale=float(model.logit_scale.detach().float().exp()),
            logit_bias=None if bias is None else float(bias.detach()),
            calibration=calibration or {},
        )
        self._cores = Cores()
        self._threads = torch.get_num_threads()
        if device == "cpu" and self._threads >= CALLS:
            self.info = replace(
                self.info, calls=CALLS, side_by_side=True, batch_images=BATCH_IMAGES, batch_texts=BATCH_TEXTS
            )
        self._tokenizing = threading.Lock()  # tokenizers keep words they met, and some break when used by two at once
        self._conveyor: Conveyor | None = None
        self._text_tower = self._choose_text_tower(precision)
        self._images = Tower("images", self._image_rows, most=IMAGE_ITEMS[-1])
        self._texts = Tower("texts", self._text_rows, most=TEXT_ITEMS[-1])
        self._check_images(precision)
        accelerator = accelerator or _accelerator_of(device)
        if accelerator is not None:
            self._accelerate(accelerator, self_check.LEAST_COSINE[precision])

    def embed_pixels(self, pixels: Pixels) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length, n >= 1; ValueError for another shape."""
        size = self.info.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, 3) or not len(pixels):
            raise ValueError(f"Pixels are {pixels.dtype} {pixels.shape}, uint8 (n, {size}, {size}, 3) is needed.")
        if not (pixels.flags.writeable and pixels.flags.c_contiguous):  # torch warns of memory it could not write to
            pixels = pixels.copy()
        return self._embed(self._images, pixels)

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embed n >= 1 texts; any string is accepted, special tokens in it are plain characters."""
        with self._tokenizing:
            ids, tokens, truncated = self._tokenizer.tokenize(texts)
        ids = ids[:, : self._text_tower.length(torch.from_numpy(ids))]
        return TextEmbeddings(embeddings=self._embed(self._texts, ids), tokens=tokens, truncated=truncated)

    def rows_of_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Uint8 [n, size, size, 3] on the device to float32 [n, dim] there: the tower alone, to measure it."""
        return self._image_rows(pixels)

    @property
    def recorded(self) -> tuple[Shape, ...]:
        """Shapes of the batches whose work is recorded."""
        return self._images.recorded + self._texts.recorded

    def forget_recordings(self) -> None:
        """Run the towers themselves from now on; for comparisons."""
        for tower in (self._images, self._texts):
            tower.forget("it was asked for")

    def _embed(self, tower: Tower, batch: Batch) -> Embeddings:
        try:
            return self._carry(tower, batch)
        except torch.AcceleratorError as error:
            _log.exception("clip_device_lost", model=self.info.name, device=self.info.device)
            raise ModelUnavailable("the device that runs the model failed; the model is loaded anew") from error

    def _carry(self, tower: Tower, batch: Batch) -> Embeddings:
        if self._conveyor is not None:
            return self._conveyor.carry(tower, batch)
        with self._cores.taken() as shared, self._with_threads(shared=shared), torch.inference_mode():
            rows: Embeddings = tower.rows(torch.from_numpy(batch).to(self.info.device)).cpu().numpy()
            return rows

    @contextmanager
    def _with_threads(self, *, shared: bool) -> Iterator[None]:
        """Operations of this thread take all the threads that there are, or a share of them.

        Set for either, and put back: PyTorch gives a new thread what was set last in any other.
        """
        if not self.info.side_by_side:
            yield
            return
        torch.set_num_threads(self._threads // CALLS if shared else self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(self._threads)

    def _image_rows(self, pixels: torch.Tensor) -> torch.Tensor:
        batch = torch.sub(pixels.permute(0, 3, 1, 2), self._mean)  # in fp32
        # Rounded as it is written: one pass over the memory of a GPU less.
        batch = torch.div(batch, self._std, out=torch.empty_like(batch, dtype=self._dtype))
        return unit(self._model.encode_image(batch, normalize=False))

    def _text_rows(self, ids: torch.Tensor) -> torch.Tensor:
        return unit(self._text_tower.encode(ids))

    def _accelerate(self, accelerator: Accelerator, least: float) -> None:
        """Take other layers, and the conveyor, if they embed as the model does plainly."""
        pixels, texts = self_check.check_pixels(self.info.preprocessing.size), self_check.CHECK_TEXTS

        def both() -> tuple[Embeddings, Embeddings]:
            return self.embed_pixels(pixels), self.embed_texts(texts).embeddings

        plain = both()

        def differs() -> str:
            try:
                cosine = min(map(self_check.least_cosine, both(), plain))
            except (RuntimeError, ModelUnavailable) as error:
                return " ".join(str(error).split())[:200]
            return "" if cosine >= least else f"embeddings come out otherwise: cosine {cosine:.6f}"

        put_back = replace_layers(self._model, self._dtype)
        if reason := differs():
            put_back()
            _log.warning("clip_layers_not_replaced", model=self.info.name, reason=reason)
        reason = self._record(accelerator, pixels, texts, least) or differs()
        if reason:
            self._conveyor = None
            _log.warning("clip_not_accelerated", model=self.info.name, reason=reason)
            return
        self.info = replace(
            self.info,
            calls=accelerator.calls,
            side_by_side=False,
            batch_images=IMAGE_ITEMS[-1],
            batch_texts=TEXT_ITEMS[-1],
        )

    def _record(self, accelerator: Accelerator, pixels: Pixels, texts: Sequence[str], least: float) -> str:
        """Record batches and send them by the conveyor from now on; what is wrong where that cannot be."""

        def some_pixels(shape: Shape) -> Batch:
            return np.resize(pixels, shape)

        def some_ids(shape: Shape) -> Batch:
            known, tokens, _ = self._tokenizer.tokenize(texts)
            return np.resize(known[tokens <= shape[1], : shape[1]], shape)

        try:
            self._images.record(accelerator, image_shapes(self.info.preprocessing.size), some_pixels, least)
            shapes = text_shapes(self.info.context_length, any_length=self._text_tower.any_length)
            self._texts.record(accelerator, shapes, some_ids, least)
            self._conveyor = Conveyor(accelerator)
        except RuntimeError as error:
            return " ".join(str(error).split())[:200]
        return ""

    def _choose_text_tower(self, precision: Precision) -> TextTower:
        """Take the tower cut to the batch if that is exact for this model and turns out so, else OpenCLIP's own."""
        stock, owner = StockTextTower(self._model), cuttable_tower(self._model)
        known = torch.from_numpy(self._tokenizer.tokenize(self_check.CHECK_TEXTS).ids)
        ids = known.to(self.info.device)
        with torch.inference_mode():
            # One by one: several at once take PyTorch many times as long there (see ``CutTextTower``).
            reference = unit_rows(torch.cat([stock.encode(each[None]) for each in ids]))
            self._check_shape(reference, "texts")
            if owner is None:
                return stock
            cut = CutTextTower(owner)
            cosine = self_check.least_cosine(unit_rows(cut.encode(ids[:, : cut.length(known)])), reference)
        if cosine >= self_check.LEAST_COSINE[precision]:
            return cut
        cut.release()
        _log.warning("clip_text_not_cut", model=self.info.name, cosine=round(cosine, 6))
        return stock

    def _check_images(self, precision: Precision) -> None:
        pixels = self_check.check_pixels(self.info.preprocessing.size)
        ours = self.embed_pixels(pixels)
        self._check_shape(ours, "pictures")
        reference = self_check.reference_images(self._model, pixels, self.info.device, precision)
        cosine = self_check.least_cosine(ours, reference)
        if cosine < self_check.LEAST_COSINE[precision]:
            raise ConfigurationError(
                f"Model {self.info.name}: its pictures come out otherwise than OpenCLIP's own in {precision} on "
                f"{self.info.device}: cosine {cosine:.6f}, {self_check.LEAST_COSINE[precision]} is needed."
            )

    def _check_shape(self, embeddings: Embeddings, what: str) -> None:
        if embeddings.shape[1:] != (self.info.dim,):
            raise ConfigurationError(
                f"Model {self.info.name}: embeddings of {what} are {embeddings.shape[1:]}, "
                f"its configuration says ({self.info.dim},)."
            )
        if not np.isfinite(embeddings).all():
            raise ConfigurationError(
                f"Model {self.info.name}: embeddings of {what} in {self.info.precision} are not finite numbers."
            )


def _accelerator_of(device: str) -> Accelerator | None:
    if not device.startswith("cuda"):
        return None
    from crossmodal.clip.torch_cuda import CudaAccelerator

    return CudaAccelerator(device)
