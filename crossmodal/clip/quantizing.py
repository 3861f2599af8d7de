"""Quantizes an exported model to int8, with what it is calibrated on, and measures what that costs."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from crossmodal.clip import exported, self_check
from crossmodal.clip.base import ClipModel
from crossmodal.clip.fingerprint import hash_weights
from crossmodal.clip.openvino_library import nncf, openvino
from crossmodal.clip.openvino_runtime import OpenVinoClip
from crossmodal.clip.quality import (
    INT8_QUALITY,
    LEAST_CAPTIONS,
    LEAST_P1,
    Counts,
    PoorQuality,
    Quality,
    Quantizing,
    Samples,
    kept_neighbours,
    recall_at,
    refuse_few,
    spread_of,
    write_quality,
)
from crossmodal.errors import ConfigurationError
from crossmodal.records import Embeddings

__all__ = ["quantize"]

_BATCH: Final = 16


def quantize(folder: Path, export: exported.Export, source: ClipModel, how: Quantizing) -> exported.Export:
    """Write the int8 part of an export beside its other files in ``folder``; returns the export with it.

    ``source`` is the same model run by PyTorch in fp32. Raises ConfigurationError, one line: ``PoorQuality`` for
    embeddings too far from the source's, unless any quality will do.
    """
    library = nncf()
    samples = how.samples(export.preprocessing)
    refuse_few(Counts(len(samples.pixels), len(samples.texts)))
    calibrating, held_out = _split(samples, how.most)
    try:
        _write_graphs(library, folder, export, calibrating)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigurationError(f"Model {export.name}: NNCF cannot quantize it: {reason}") from error
    # Its references are what it gives itself, so they cannot be compared with yet.
    model = OpenVinoClip(folder, _with_int8(folder, export), precision="int8", checked=False)
    self_check.write_references(folder, exported.INT8_REFERENCES, model)
    quality = _measure(model, source, calibrating, held_out)
    _judge(quality, export.name, accept=how.accept)
    write_quality(folder / INT8_QUALITY, quality)
    return _with_int8(folder, export)


def _split(samples: Samples, most: int) -> tuple[Samples, Samples]:
    """The samples that calibrate and those that judge, at most ``most`` of a kind in both."""

    def halves(count: int) -> tuple[slice, slice]:
        first = min(most, count // 2)
        return slice(0, first), slice(first, first + min(most, count - first))

    both = zip(halves(len(samples.pixels)), halves(len(samples.texts)), strict=True)
    one, other = (Samples(samples.pixels[p], samples.captions[p], samples.texts[t]) for p, t in both)
    return one, other


def _write_graphs(library: Any, folder: Path, export: exported.Export, samples: Samples) -> None:
    tokenizer = exported.read_tokenizer(folder, export, export.name)
    ids, tokens, _ = tokenizer.tokenize(samples.texts)
    lengths = tokens if export.any_length else np.full_like(tokens, export.context_length)
    pictures = [picture[None] for picture in samples.pixels]
    texts = [row[None, :length] for row, length in zip(ids, lengths, strict=True)]
    _quantize(library, folder / exported.IMAGE_GRAPH, pictures, folder / exported.INT8_IMAGE_GRAPH)
    _quantize(library, folder / exported.TEXT_GRAPH, texts, folder / exported.INT8_TEXT_GRAPH)


def _quantize(library: Any, graph: Path, inputs: Sequence[Any], path: Path) -> None:
    with redirect_stdout(sys.stderr):  # where its progress belongs
        quantized = library.quantize(
            openvino().Core().read_model(graph),
            library.Dataset(inputs),
            subset_size=len(inputs),
            model_type=library.ModelType.TRANSFORMER,
            fast_bias_correction=False,  # the fast one makes single pictures worse than none
            advanced_parameters=_advanced(library),
        )
    openvino().save_model(quantized, path, compress_to_fp16=False)


def _advanced(library: Any) -> Any:
    """What was measured to lose least, docs/adr/0018-int8.md.

    Ranges of activations are those of all samples: a mean over them cuts the largest off. Scales are moved half way from
    activations to weights.
    """
    advanced = library.quantization.advanced_parameters
    return advanced.AdvancedQuantizationParameters(
        activations_range_estimator_params=library.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
        smooth_quant_alphas=advanced.AdvancedSmoothQuantParameters(matmul=0.5),
    )


def _with_int8(folder: Path, export: exported.Export) -> exported.Export:
    """The export with what of its int8 part is in ``folder``."""
    files = (file for file in exported.INT8_FILES if (folder / file).is_file())
    return replace(export, int8={file: hash_weights(folder / file) for file in files})


def _measure(model: ClipModel, source: ClipModel, calibrating: Samples, held_out: Samples) -> Quality:
    """Compare on ``held_out``, and on the different captions of its pictures."""
    named = [place for place, caption in enumerate(held_out.captions) if caption]
    captions = list(dict.fromkeys(held_out.captions[place] for place in named))
    owners = np.asarray([captions.index(held_out.captions[place]) for place in named])
    found = [_embed(each, held_out, captions) for each in (source, model)]
    (pictures, texts, asked), (our_pictures, our_texts, our_asked) = found
    enough = len(captions) >= LEAST_CAPTIONS
    return Quality(
        calibrated_on=Counts(len(calibrating.pixels), len(calibrating.texts)),
        held_out=Counts(len(held_out.pixels), len(held_out.texts)),
        pictures=spread_of(our_pictures, pictures),
        texts=spread_of(our_texts, texts),
        neighbours=kept_neighbours((texts, pictures), (our_texts, our_pictures)),
        captions=len(captions),
        recall=recall_at((asked, pictures[named]), (our_asked, our_pictures[named]), owners) if enough else (),
    )


def _embed(model: ClipModel, samples: Samples, captions: Sequence[str]) -> tuple[Embeddings, Embeddings, Embeddings]:
    def texts(given: Sequence[str]) -> Embeddings:
        return _in_batches(lambda part: model.embed_texts(given[part]).embeddings, len(given), model.info.dim)

    pictures = _in_batches(lambda part: model.embed_pixels(samples.pixels[part]), len(samples.pixels), model.info.dim)
    return pictures, texts(samples.texts), texts(captions)


def _in_batches(embed: Callable[[slice], Embeddings], count: int, dim: int) -> Embeddings:
    parts = [embed(slice(start, start + _BATCH)) for start in range(0, count, _BATCH)]
    return np.concatenate([np.empty((0, dim), np.float32), *parts])


def _judge(quality: Quality, name: str, *, accept: bool) -> None:
    for what, spread in (("pictures", quality.pictures), ("texts", quality.texts)):
        if spread.p1 < LEAST_P1 and not accept:
            raise PoorQuality(
                f"Model {name}: in int8 one in a hundred {what} has a cosine to its embedding in fp32 of {spread.p1:.4f} or "
                f"less; {LEAST_P1} is needed, --accept-quality writes it all the same.",
                quality,
            )
