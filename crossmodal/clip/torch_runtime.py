"""The port's first adapter: a CLIP model run by PyTorch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import structlog
import torch

from crossmodal.clip import self_check
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.clip.device import Precision, torch_dtype
from crossmodal.clip.preprocessing import preprocessing_of
from crossmodal.clip.text import Tokenizer
from crossmodal.clip.text_tower import CutTextTower, StockTextTower, TextTower, cuttable_tower, unit_rows
from crossmodal.errors import ConfigurationError
from crossmodal.records import Embeddings, Pixels, Profile, Statistics

__all__ = ["TorchClip"]

_log = structlog.get_logger(__name__)


class TorchClip:
    """An OpenCLIP model on one device in one precision; implements ``ClipModel``.

    ``model`` is built in ``precision`` and is taken over; ``dim`` is the length of its embeddings. At the start it is
    compared with OpenCLIP's own functions, which also warms it up: ConfigurationError when pictures come out
    otherwise, a warning and OpenCLIP's own text tower when texts do.
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
    ) -> None:
        self._model = model.eval().to(device)
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
        self._text_tower = self._choose_text_tower(precision)
        self._check_images(precision)

    def embed_pixels(self, pixels: Pixels) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length, n >= 1; ValueError for another shape."""
        size = self.info.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, 3) or not len(pixels):
            raise ValueError(f"Pixels are {pixels.dtype} {pixels.shape}, uint8 (n, {size}, {size}, 3) is needed.")
        if not (pixels.flags.writeable and pixels.flags.c_contiguous):  # torch warns of memory it could not write to
            pixels = pixels.copy()
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self.info.device).permute(0, 3, 1, 2).float()
            batch = batch.sub_(self._mean).div_(self._std).to(self._dtype)
            return unit_rows(self._model.encode_image(batch, normalize=False))

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embed n >= 1 texts; any string is accepted, special tokens in it are plain characters."""
        ids, tokens, truncated = self._tokenizer.tokenize(texts)
        with torch.inference_mode():
            features = self._text_tower.encode(torch.from_numpy(ids).to(self.info.device))
            return TextEmbeddings(embeddings=unit_rows(features), tokens=tokens, truncated=truncated)

    def _choose_text_tower(self, precision: Precision) -> TextTower:
        """Take the tower cut to the batch if that is exact for this model and turns out so, else OpenCLIP's own."""
        stock, owner = StockTextTower(self._model), cuttable_tower(self._model)
        ids = torch.from_numpy(self._tokenizer.tokenize(self_check.CHECK_TEXTS).ids).to(self.info.device)
        with torch.inference_mode():
            # One by one: several at once take PyTorch many times as long there (see ``CutTextTower``).
            reference = unit_rows(torch.cat([stock.encode(each[None]) for each in ids]))
            self._check_shape(reference, "texts")
            if owner is None:
                return stock
            cut = CutTextTower(owner)
            cosine = self_check.least_cosine(unit_rows(cut.encode(ids)), reference)
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
