"""The port's second adapter: an exported CLIP model run by OpenVINO on the CPU, without torch."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import structlog

from crossmodal.clip import self_check
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.clip.cores import BATCH_IMAGES, BATCH_TEXTS, Cores
from crossmodal.clip.device import Precision
from crossmodal.clip.exported import Export, Variant, fingerprint_in, read_references, read_tokenizer, variant_of
from crossmodal.clip.openvino_library import openvino
from crossmodal.clip.openvino_tower import OtherEmbeddings, Tower
from crossmodal.errors import ConfigurationError
from crossmodal.records import Embeddings, Pixels, Profile, Statistics

__all__ = ["OpenVinoClip", "OtherEmbeddings", "native_precision"]

_log = structlog.get_logger(__name__)

_HINTS: Final[dict[Precision, str]] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""Of what is not quantized, in int8: in bf16 it would be other embeddings, by up to 0.009 in cosine, and about as fast."""


_FINE_STEP, _COARSE_STEP = 4, 8
_SEVERAL = 4
"""So many texts are worth the finer steps, up to ``_SHORT`` ids, where a step is a large share of a text."""
_SHORT = 24


def native_precision() -> Precision:
    """The fastest numbers that this CPU computes in natively."""
    return "bf16" if "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "fp32"


class OpenVinoClip:
    """An exported model in ``folder`` in one precision, fp32, bf16 or int8; implements ``ClipModel``.

    In int8, what is not quantized is computed in fp32. ``threads`` None leaves OpenVINO's choice, one per
    core; below ``cache`` it keeps what it compiled. At the start the embeddings are compared with those that PyTorch gave,
    or in int8 these graphs, which also warms it up: ``OtherEmbeddings`` when they differ. ``checked`` is False where these
    are still to be made.
    """

    def __init__(
        self,
        folder: Path,
        export: Export,
        *,
        precision: Precision,
        profile: Profile = "standard",
        calibration: Statistics | None = None,
        threads: int | None = None,
        cache: Path | None = None,
        checked: bool = True,
    ) -> None:
        if precision == "int8" and export.int8 is None:
            raise ConfigurationError(f"Model {export.name}: its export holds nothing in int8.")
        variant = variant_of(export, int8=precision == "int8")
        self._tokenizer = read_tokenizer(folder, export, export.name)
        self._any_length = export.any_length
        properties = {
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same cores, beside the decoders
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            **({} if threads is None else {"INFERENCE_NUM_THREADS": threads}),
            **({} if cache is None else _caching(cache / _identity(variant))),
        }
        try:
            self._images, self._texts = _towers(
                [folder / variant.images, folder / variant.texts], properties, self_check.LEAST_COSINE[precision]
            )
            found = precision if precision == "int8" else _precision_of(self._images)
            fingerprint = fingerprint_in(variant, profile, export.name)
            self.info = _info(export, fingerprint, profile, calibration, found, self._images.calls)
            if checked:
                self._check(read_references(folder, variant.references, export.name))
                for tower in (self._images, self._texts):  # both ran
                    tower.release_file()
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise OtherEmbeddings(f"Model {export.name}: OpenVINO cannot run its export here: {reason}") from error

    def embed_pixels(self, pixels: Pixels) -> Embeddings:
        """Embed uint8 [n, size, size, 3] to float32 [n, dim] of unit length, n >= 1; ValueError for another shape."""
        size = self.info.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size, size, 3) or not len(pixels):
            raise ValueError(f"Pixels are {pixels.dtype} {pixels.shape}, uint8 (n, {size}, {size}, 3) is needed.")
        return self._images.embed(pixels)

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embed n >= 1 texts; any string is accepted, special tokens in it are plain characters."""
        ids, tokens, truncated = self._tokenizer.tokenize(texts)
        if self._any_length:  # positions after the longest end-of-text would be computed for nothing
            ids = ids[:, : shared_length(int(tokens.max()), len(texts))]
        return TextEmbeddings(embeddings=self._texts.embed(ids), tokens=tokens, truncated=truncated)

    def _check(self, references: Mapping[str, Embeddings]) -> None:
        ours = {
            "pixels": self.embed_pixels(self_check.check_pixels(self.info.preprocessing.size)),
            "texts": self.embed_texts(self_check.CHECK_TEXTS).embeddings,
        }
        least = self_check.LEAST_COSINE[cast("Precision", self.info.precision)]
        for what, embeddings in ours.items():
            cosine = self_check.least_cosine(embeddings, references[what])
            if cosine < least or embeddings.shape[1] != self.info.dim:
                raise OtherEmbeddings(
                    f"Model {self.info.name}: its {what} come out otherwise in OpenVINO in {self.info.precision} than "
                    f"when it was exported: cosine {cosine:.6f}, {least} is needed."
                )


def shared_length(longest: int, texts: int) -> int:
    """To how many ids a batch of so many texts, the longest of ``longest``, is padded, so that batches share shapes.

    OpenVINO prepares kernels for every shape that it meets and keeps them. In steps of 1 the bundled model grew by 97 MB in
    8,000 batches of up to 8 short texts, and went on growing; in these by 40 MB, nearly all of it in the first 250. Steps
    of 8 make a lone text of it faster, by a fifth, for the shape changes less often; larger batches pay for what is computed in vain.
    """
    step = _FINE_STEP if texts >= _SEVERAL and longest <= _SHORT else _COARSE_STEP
    return -(-longest // step) * step


def _towers(graphs: Sequence[Path], properties: Mapping[str, Any], least: float) -> list[Tower]:
    """Compile beside one another: each compiles mostly in one thread, without Python's lock, and a start waits for all."""
    cores = Cores()
    with ThreadPoolExecutor(len(graphs)) as pool:
        return list(pool.map(lambda graph: Tower(graph, properties, cores, least=least), graphs))


def _info(
    export: Export,
    fingerprint: str,
    profile: Profile,
    calibration: Statistics | None,
    precision: Precision,
    calls: int,
) -> ModelInfo:
    info = ModelInfo(
        name=export.name,
        dim=export.dim,
        context_length=export.context_length,
        preprocessing=replace(export.preprocessing, profile=profile),
        fingerprint=fingerprint,
        device="cpu",
        precision=precision,
        logit_scale=export.logit_scale,
        logit_bias=export.logit_bias,
        calibration=calibration or {},
        calls=calls,
        runtime="openvino",
    )
    if calls == 1:
        return info
    return replace(info, side_by_side=True, batch_images=BATCH_IMAGES, batch_texts=BATCH_TEXTS)


def _precision_of(tower: Tower) -> Precision:
    """What it computes in: bf16 that was asked for is not had on every CPU."""
    return "bf16" if tower.precision == "bf16" else "fp32"


def _identity(variant: Variant) -> str:
    """Names these very files: what was compiled of others may not be taken for theirs."""
    return sha256("".join(sorted(variant.files.values())).encode()).hexdigest()[:16]


def _caching(folder: Path) -> dict[str, str]:
    """Keep what is compiled, without the weights, which stay in the export: a megabyte. Damaged files are made anew."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("clip_not_cached", reason=str(error.strerror))
        return {}
    return {"CACHE_DIR": str(folder), "CACHE_MODE": "OPTIMIZE_SIZE"}
