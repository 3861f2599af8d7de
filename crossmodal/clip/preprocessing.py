"""Reads from an OpenCLIP model how its pictures are prepared."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from crossmodal.errors import ConfigurationError
from crossmodal.records import Preprocessing, Profile

__all__ = ["preprocessing_of"]

_INTERPOLATIONS: Final[dict[str, Literal["bicubic", "bilinear"]]] = {
    "bicubic": "bicubic",
    "bilinear": "bilinear",
    "random": "bicubic",  # a choice of training, which OpenCLIP reads so when it is not training
}
_RESIZE_MODES: Final[dict[str, Literal["shortest", "longest", "squash"]]] = {
    "shortest": "shortest",
    "longest": "longest",
    "squash": "squash",
}


def preprocessing_of(config: dict[str, Any], *, name: str, profile: Profile = "standard") -> Preprocessing:
    """Translate a model's ``visual.preprocess_cfg``, in ``profile``. Raises ConfigurationError for what cannot be prepared here."""
    interpolation = config.get("interpolation") or "bicubic"
    resize_mode = config.get("resize_mode") or "shortest"
    if interpolation not in _INTERPOLATIONS or resize_mode not in _RESIZE_MODES:
        raise ConfigurationError(f"Model {name}: preprocessing {interpolation!r}, {resize_mode!r} is not known.")
    std = _channels(config["std"], name)
    if min(std) <= 0:
        raise ConfigurationError(f"Model {name}: the standard deviation of its pixels is {std}, it must be above 0.")
    return Preprocessing(
        size=_side(config["size"], name),
        interpolation=_INTERPOLATIONS[interpolation],
        resize_mode=_RESIZE_MODES[resize_mode],
        mean=_channels(config["mean"], name),
        std=std,
        fill_color=int(config.get("fill_color") or 0),
        profile=profile,
    )


def _side(size: int | Sequence[int], name: str) -> int:
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    if height != width:
        raise ConfigurationError(
            f"Model {name}: it takes pictures of {height} x {width} pixels, only squares are made."
        )
    return int(height)


def _channels(values: float | Sequence[float], name: str) -> tuple[float, float, float]:
    channels = [float(v) for v in values] if isinstance(values, Sequence) else [float(values)] * 3
    if len(channels) != 3:  # noqa: PLR2004 - red, green and blue
        raise ConfigurationError(f"Model {name}: {len(channels)} values of mean or std for the 3 channels of a pixel.")
    return (channels[0], channels[1], channels[2])
