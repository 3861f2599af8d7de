"""Imports OpenCLIP without what models of its own kind never use, which is most of what the import takes.

OpenCLIP imports torchvision, where one operator of object detection imports torch's compiler, with sympy and triton, to
ask it a question that it asks only when it is called; and it imports timm, for towers that come from there.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

__all__ = ["import_openclip"]

_COMPILER: Final = ("torch._dynamo", "torch._dynamo.utils")


def import_openclip(model_cfg: Mapping[str, Any] | None = None) -> None:
    """Import OpenCLIP and torch, with timm if the model of this configuration needs it; None for one of no timm.

    May be called for several models, in any order, and changes nothing where OpenCLIP has been imported otherwise.
    """
    timm_needed = "timm_model_name" in (model_cfg or {}).get("vision_cfg", {})
    if "open_clip" not in sys.modules:
        import torch  # noqa: F401 -- before its compiler is hidden, which is a part of it

        with _compiler_later(), _timm_hidden(hidden=not timm_needed):
            import open_clip  # noqa: F401
    if timm_needed:
        _give_timm()


class _Later(ModuleType):
    """Stands for a module until something of it is asked for; the real one is imported then."""

    __path__: list[str] = []  # noqa: RUF012 -- what makes it a package, as the import system reads it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of every module
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


def _real(name: str) -> Any:
    for each in _COMPILER:
        if isinstance(sys.modules.get(each), _Later):
            del sys.modules[each]
    return importlib.import_module(name)


def _is_compile_supported(device_type: str) -> Any:
    """What torchvision imports by its name and calls when it has an operator compiled."""
    return _real(_COMPILER[1]).is_compile_supported(device_type)


@contextmanager
def _compiler_later() -> Iterator[None]:
    """Put off the import of torch's compiler, unless it was imported already, to when it is used."""
    if any(name in sys.modules for name in _COMPILER):
        yield
        return
    for name in _COMPILER:
        sys.modules[name] = _Later(name)
    vars(sys.modules[_COMPILER[1]])["is_compile_supported"] = _is_compile_supported
    try:
        yield
    finally:
        for name in _COMPILER:
            if isinstance(sys.modules.get(name), _Later):
                del sys.modules[name]


@contextmanager
def _timm_hidden(*, hidden: bool) -> Iterator[None]:
    """A module that is None counts as not installed, which OpenCLIP is prepared for."""
    if not hidden or "timm" in sys.modules:
        yield
        return
    sys.modules["timm"] = None  # type: ignore[assignment]  # None is what Python documents for this
    try:
        yield
    finally:
        del sys.modules["timm"]


def _give_timm() -> None:
    """Let OpenCLIP have timm if it was imported without. Raises ImportError where there is none."""
    adapter = importlib.import_module("open_clip.timm_model")
    if adapter.timm is not None:
        return
    layers = importlib.import_module("timm.layers")
    given = {
        "RotAttentionPool2d": layers.RotAttentionPool2d,
        "AbsAttentionPool2d": layers.AttentionPool2d,
        "Mlp": layers.Mlp,
        "to_2tuple": layers.to_2tuple,
        "timm": importlib.import_module("timm"),
    }
    vars(adapter).update(given)
