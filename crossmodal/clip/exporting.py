"""Writes a model for OpenVINO: the graphs of its towers and everything else that serving needs."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import structlog
import torch

from crossmodal.clip import exported, self_check
from crossmodal.clip.bpe import CLEANING
from crossmodal.clip.calibration import CALIBRATION_FILE
from crossmodal.clip.catalogue import Checkpoint, resolve
from crossmodal.clip.fingerprint import hash_weights
from crossmodal.clip.openvino_library import openvino
from crossmodal.clip.openvino_runtime import OpenVinoClip, native_precision
from crossmodal.clip.quality import Quantizing
from crossmodal.clip.quantizing import quantize
from crossmodal.clip.spec import LocalFolder, parse_spec
from crossmodal.clip.text import BpeTokenizer, Tokenizer
from crossmodal.clip.text_tower import cuttable_tower, encode_positions, end_positions, pooling
from crossmodal.clip.torch_loading import fingerprint_of, tokenizer_of, torch_clip
from crossmodal.clip.torch_runtime import TorchClip
from crossmodal.clip.weights import build_model
from crossmodal.errors import ConfigurationError
from crossmodal.records import Profile

__all__ = ["export_model"]

_log = structlog.get_logger(__name__)

_BATCHES: Final = (1, 3, 16)
"""Sizes of the batches by which an export is compared with PyTorch."""


def export_model(
    spec: str, *, out: Path | None, exports: Path, quantizing: Quantizing | None = None, revision: str | None = None
) -> Path:
    """Export the model that ``spec`` names to ``out``, to a folder of its own below ``exports`` without it.

    Its embeddings are compared with PyTorch's in fp32, and in bf16 where the CPU has it. With ``quantizing`` it is
    exported in int8, too; without, an int8 part of the folder stays if it is of the same model. ``revision`` is of the
    hub's repository. Returns the folder. Raises
    ConfigurationError, one line, for a model that cannot be exported, ``PoorQuality`` among them; the folder is then as
    it was.
    """
    parsed = parse_spec(spec)
    checkpoint = resolve(parsed, revision)
    folder = exported.export_folder(exports, parsed) if out is None else out
    was_there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # In the folder itself: it may be on another disk than the one above.
            with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as made:
                export, reference = _write(Path(made), checkpoint, local=isinstance(parsed, LocalFolder))
                if quantizing is None:
                    export = replace(export, int8=exported.kept_int8(folder, export))
                else:
                    export = quantize(Path(made), export, reference, quantizing)
                exported.write_manifest(Path(made), export)
                _move(Path(made), folder, export)
        finally:
            if not was_there and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise ConfigurationError(f"Model {checkpoint.name}: its export cannot be written: {error.strerror}.") from error
    _log.info("clip_exported", model=checkpoint.name, folder=str(folder))
    return folder


def _write(folder: Path, checkpoint: Checkpoint, *, local: bool) -> tuple[exported.Export, TorchClip]:
    """Write all but the manifest; that, and the model it was made from."""
    model = build_model(checkpoint, "fp32")
    tokenizer = tokenizer_of(checkpoint, model)
    _write_tokenizer(folder, tokenizer, checkpoint.name)
    weights = hash_weights(checkpoint.weights)
    fingerprints: dict[Profile, str] = {
        profile: fingerprint_of(checkpoint, model, tokenizer, weights=weights, profile=profile)
        for profile in get_args(Profile)
    }
    any_length = _write_graphs(folder, model, tokenizer, checkpoint)
    reference = torch_clip(
        checkpoint, model, tokenizer, fingerprints["standard"], device="cpu", precision="fp32", profile="standard"
    )
    self_check.write_references(folder, exported.REFERENCES, reference)
    if checkpoint.calibration:
        shutil.copy(checkpoint.weights.parent / CALIBRATION_FILE, folder)
    export = exported.Export(
        format=1,
        name=checkpoint.name,
        dim=reference.info.dim,
        context_length=reference.info.context_length,
        preprocessing=reference.info.preprocessing,
        fingerprints=fingerprints,
        logit_scale=reference.info.logit_scale,
        logit_bias=reference.info.logit_bias,
        any_length=any_length,
        sources=exported.sources_of(checkpoint) if local else {},
        files={file: hash_weights(folder / file) for file in exported.FILES},
    )
    _compare(folder, export, reference)
    return export, reference


def _write_tokenizer(folder: Path, tokenizer: Tokenizer, name: str) -> None:
    described = tokenizer.describe()
    if not isinstance(tokenizer, BpeTokenizer) or described["clean"] not in CLEANING:
        raise ConfigurationError(
            f"Model {name}: only models with CLIP's byte-pair tokenizer can be exported; this one has another."
        )
    content = {**described, "special": tokenizer.special}
    (folder / exported.TOKENIZER).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


class _ImageGraph(torch.nn.Module):
    """uint8 [n, size, size, 3] to features float32 [n, dim], not normalised."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        config = model.visual.preprocess_cfg
        self.model = model
        self.mean, self.std = (torch.tensor(config[key]).view(-1, 1, 1) * 255 for key in ("mean", "std"))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        batch = pixels.permute(0, 3, 1, 2).float().sub(self.mean).div(self.std)
        features: torch.Tensor = self.model.encode_image(batch, normalize=False)
        return features


class _TextGraph(torch.nn.Module):
    """Ids int64 [n, context] to features float32 [n, dim], not normalised."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.encode_text(ids, normalize=False)
        return features


class _AnyLengthTextGraph(torch.nn.Module):
    """Ids int64 [n, length] with every end-of-text among them to features float32 [n, dim], not normalised."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self.pool_type, self.eos_id = pooling(tower)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return encode_positions(self.tower, ids, end_positions(ids, self.pool_type, self.eos_id))


def _write_graphs(folder: Path, model: Any, tokenizer: Tokenizer, checkpoint: Checkpoint) -> bool:
    """Write both graphs; whether texts may have any length."""
    tower = cuttable_tower(model)
    batch = tokenizer.tokenize(self_check.CHECK_TEXTS[:2])
    length = int(batch.tokens.max()) if tower is not None else tokenizer.context_length
    ids = torch.from_numpy(batch.ids[:, :length].copy())
    texts = _TextGraph(model) if tower is None else _AnyLengthTextGraph(tower)
    size = model.visual.image_size if isinstance(model.visual.image_size, int) else model.visual.image_size[0]
    pixels = torch.from_numpy(self_check.check_pixels(size))
    try:
        _convert(_ImageGraph(model), pixels, [-1, size, size, 3], folder / exported.IMAGE_GRAPH)
        _convert(texts, ids, [-1, length if tower is None else -1], folder / exported.TEXT_GRAPH)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigurationError(f"Model {checkpoint.name}: OpenVINO cannot convert it: {reason}") from error
    return tower is not None


def _convert(module: torch.nn.Module, example: torch.Tensor, shape: list[int], path: Path) -> None:
    library = openvino()
    with _plain_attention(), torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of checks of shapes in PyTorch that it does not record
        graph = library.convert_model(module.eval(), example_input=example, input=[library.PartialShape(shape)])
    library.save_model(graph, path, compress_to_fp16=False)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Switch PyTorch's fused attention off, which exists only in PyTorch."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _compare(folder: Path, export: exported.Export, reference: TorchClip) -> None:
    """Embed batches of several sizes both ways. Raises ConfigurationError where they differ."""
    noise = np.random.default_rng(1)
    size = export.preprocessing.size
    for precision in sorted({"fp32", native_precision()}):
        runtime = OpenVinoClip(folder, export, precision=precision)
        for count in _BATCHES:
            pixels = noise.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
            texts = ["a dog on a mat " * (1 + noise.integers(0, 12)) for _ in range(count)]
            pairs = {
                "pictures": (runtime.embed_pixels(pixels), reference.embed_pixels(pixels)),
                "texts": (runtime.embed_texts(texts).embeddings, reference.embed_texts(texts).embeddings),
            }
            for what, (ours, theirs) in pairs.items():
                cosine = self_check.least_cosine(ours, theirs)
                if cosine < self_check.LEAST_COSINE[precision]:
                    raise ConfigurationError(
                        f"Model {export.name}: its {what} come out otherwise in OpenVINO in {precision}: "
                        f"cosine {cosine:.6f}, {self_check.LEAST_COSINE[precision]} is needed."
                    )


def _move(made: Path, folder: Path, export: exported.Export) -> None:
    """Put the files in place, the manifest last: without it there is no export. What it does not name any more goes."""
    (folder / exported.MANIFEST).unlink(missing_ok=True)
    for file in set(exported.INT8_FILES) - set(export.int8 or ()):
        (folder / file).unlink(missing_ok=True)
    for path in sorted(made.iterdir(), key=lambda path: path.name == exported.MANIFEST):
        path.replace(folder / path.name)
