"""The room's entry: from the name of a model to the model, ready to embed."""

from time import perf_counter
from typing import Any

import structlog

from crossmodal.clip.base import ClipModel
from crossmodal.clip.catalogue import Checkpoint, resolve
from crossmodal.clip.device import Precision, choose_device, choose_precision, set_threads
from crossmodal.clip.spec import parse_spec
from crossmodal.clip.text import Tokenizer
from crossmodal.errors import ConfigurationError
from crossmodal.records import Profile

__all__ = ["load_model"]

_log = structlog.get_logger(__name__)


def load_model(
    spec: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    profile: Profile = "standard",
) -> ClipModel:
    """Load the model that ``spec`` names: tiny, ARCH/TAG, hf-hub:ORG/REPO or local-dir:PATH.

    ``device`` is auto, cpu, cuda or cuda:N; ``precision`` auto, fp32, bf16 or fp16; ``threads`` the threads of one
    operation on the CPU, for the whole process; ``profile`` how pictures are made RGB, part of the fingerprint. Compared with OpenCLIP's own functions and warm when it returns.
    Raises ConfigurationError, one line, for everything that can be wrong with names, files, weights and hardware.
    """
    started = perf_counter()
    place = choose_device(device)
    chosen = choose_precision(precision, place)
    set_threads(threads)
    checkpoint = resolve(parse_spec(spec))
    try:
        model = _assemble(checkpoint, place, chosen, profile)
    except _NotComputable as error:
        if precision != "auto" or chosen == "fp32":
            raise ConfigurationError(str(error)) from error
        _log.warning("clip_precision_fallback", model=checkpoint.name, refused=chosen, reason=str(error))
        model = _assemble(checkpoint, place, "fp32", profile)
    seconds = round(perf_counter() - started, 2)
    info = model.info
    _log.info("clip_loaded", model=info.name, device=info.device, precision=info.precision, seconds=seconds)
    return model


class _NotComputable(ConfigurationError):
    """The architecture does not run in this precision on this device."""


def _assemble(checkpoint: Checkpoint, device: str, precision: Precision, profile: Profile) -> ClipModel:
    from crossmodal.clip.fingerprint import fingerprint, hash_weights
    from crossmodal.clip.preprocessing import preprocessing_of
    from crossmodal.clip.torch_runtime import TorchClip
    from crossmodal.clip.weights import build_model

    model = build_model(checkpoint, precision)
    tokenizer = _tokenizer(checkpoint, model)
    dim = checkpoint.model_cfg["embed_dim"]
    identity = fingerprint(
        model_cfg=checkpoint.model_cfg,
        weights=hash_weights(checkpoint.weights),
        preprocessing=preprocessing_of(model.visual.preprocess_cfg, name=checkpoint.name, profile=profile),
        dim=dim,
        tokenizer=tokenizer,
    )
    try:
        return TorchClip(
            model,
            tokenizer,
            name=checkpoint.name,
            dim=dim,
            fingerprint=identity,
            device=device,
            precision=precision,
            calibration=checkpoint.calibration,
            profile=profile,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise _NotComputable(f"Model {checkpoint.name} does not run in {precision} on {device}: {reason}") from error


def _tokenizer(checkpoint: Checkpoint, model: Any) -> Tokenizer:
    import open_clip

    from crossmodal.clip.text import BpeTokenizer, adapt_tokenizer

    text_cfg = checkpoint.model_cfg["text_cfg"]
    try:
        if checkpoint.bpe_path is None:
            tokenizer = open_clip.get_tokenizer(checkpoint.tokenizer)
        else:
            tokenizer = open_clip.SimpleTokenizer(
                bpe_path=str(checkpoint.bpe_path),
                context_length=text_cfg.get("context_length", 77),
                **text_cfg.get("tokenizer_kwargs", {}),
            )
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigurationError(f"Model {checkpoint.name}: its tokenizer cannot be had: {reason}") from error
    adapted = adapt_tokenizer(tokenizer)
    rows = getattr(model, "vocab_size", adapted.vocab_size)
    # A Hugging Face vocabulary may be padded; in CLIP's the end-of-text must be the model's highest id.
    if adapted.vocab_size > rows or (isinstance(adapted, BpeTokenizer) and adapted.vocab_size != rows):
        raise ConfigurationError(
            f"Model {checkpoint.name}: its tokenizer knows {adapted.vocab_size} tokens, its text tower {rows}."
        )
    return adapted
