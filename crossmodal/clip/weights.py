"""Builds an OpenCLIP model and loads its weights, all of them or none."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crossmodal.clip.catalogue import Checkpoint
from crossmodal.clip.device import Precision
from crossmodal.errors import ConfigurationError

__all__ = ["build_model"]


def build_model(checkpoint: Checkpoint, precision: Precision) -> Any:
    """Build the model on the CPU in ``precision``, weights loaded, ready for inference.

    Raises ConfigurationError when the architecture cannot be built here, when the weights file is damaged, and when
    its tensors are not exactly those of the architecture: nothing is left at its random start or resized to fit.
    """
    with _openclip_silenced():
        model = _build(checkpoint, precision)
        _load(model, checkpoint)
    return model.eval().requires_grad_(requires_grad=False)


def _build(checkpoint: Checkpoint, precision: Precision) -> Any:
    import open_clip

    from crossmodal.clip.unfilled import Unfilled

    # The size is the architecture's; a configuration that says otherwise does not change what the model takes.
    preprocessing = {key: value for key, value in checkpoint.preprocess_cfg.items() if key != "size"}
    try:
        with Unfilled():  # ``_load`` takes nothing but a full set of weights
            model = open_clip.create_model(
                checkpoint.architecture,
                load_weights=False,
                pretrained_text=False,
                precision=precision,
                force_preprocess_cfg=preprocessing,
            )
    except Exception as error:
        raise ConfigurationError(
            f"Model {checkpoint.name}: OpenCLIP cannot build this architecture: {_one_line(error)}"
        ) from error
    for scalar in (model.logit_scale, model.logit_bias):
        if scalar is not None:  # low precision would round the temperature of the model's softmax
            scalar.data = scalar.data.float()
    return model


def _load(model: Any, checkpoint: Checkpoint) -> None:
    import open_clip
    from safetensors import SafetensorError, safe_open

    name, file = checkpoint.name, checkpoint.weights.name
    try:
        with safe_open(checkpoint.weights, framework="pt") as tensors:
            shapes = {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(
            f"Model {name}: {file} is damaged or no safetensors file ({_one_line(error)}); fetch it again."
        ) from error
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    _refuse_adapting(shapes, wanted, name, file)
    try:
        open_clip.load_checkpoint(model, str(checkpoint.weights), strict=True)
    except Exception as error:
        raise ConfigurationError(f"Model {name}: {file} does not fit: {_difference(shapes, wanted, error)}.") from error


def _refuse_adapting(shapes: dict[str, Any], wanted: dict[str, Any], name: str, file: str) -> None:
    """Refuse what OpenCLIP would bend to fit: positions of another size, a missing bias of the logits."""
    for key in ("visual.positional_embedding", "positional_embedding", "text.positional_embedding"):
        target = f"text.{key}" if key == "positional_embedding" and key not in wanted else key
        if key in shapes and target in wanted and shapes[key] != wanted[target]:
            raise ConfigurationError(
                f"Model {name}: {file} does not fit: {key} is {shapes[key]}, the configuration asks for "
                f"{wanted[target]}; picture size, patch size or context length differ from those of the training."
            )
    if "logit_bias" in wanted and "logit_bias" not in shapes:
        raise ConfigurationError(f"Model {name}: {file} does not fit: logit_bias is missing.")


def _difference(shapes: dict[str, Any], wanted: dict[str, Any], error: Exception) -> str:
    """Say in a few words how the file's tensors and the model's differ."""
    differences = {
        "missing": sorted(wanted.keys() - shapes.keys()),
        "not of this architecture": sorted(shapes.keys() - wanted.keys()),
        "of another shape": sorted(key for key in wanted.keys() & shapes.keys() if wanted[key] != shapes[key]),
    }
    told = [f"{len(keys)} tensors {what} (first {keys[0]})" for what, keys in differences.items() if keys]
    return "; ".join(told) or _one_line(error)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextmanager
def _openclip_silenced() -> Iterator[None]:
    """Keep OpenCLIP's remarks out of the log, as that the weights are random: here they are loaded right after.

    It writes to the root logger, which would also set that logger up in passing where nobody has yet.
    """

    def not_openclip(record: logging.LogRecord) -> bool:
        return "open_clip" not in record.pathname

    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(not_openclip)
    try:
        yield
    finally:
        root.removeFilter(not_openclip)
        root.removeHandler(handler)
