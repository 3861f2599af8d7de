"""Builds a model without filling it with random numbers, which its weights would replace at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

__all__ = ["Unfilled"]

_RANDOM: Final = frozenset({
    torch.Tensor.normal_, torch.Tensor.uniform_,
    init.normal_, init.uniform_, init.trunc_normal_,
    init.kaiming_normal_, init.kaiming_uniform_, init.xavier_normal_, init.xavier_uniform_,
})  # fmt: skip
"""What fills a tensor with random numbers."""


class Unfilled(TorchFunctionMode):
    """While it is entered, tensors that would be filled with random numbers keep whatever their memory held.

    Converting one of these to another type makes memory of that type, without reading it. Everything else is computed.
    Only for models all of whose parameters are loaded afterwards, none left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unfilled: dict[int, torch.Tensor] = {}  # kept, so that no other tensor gets their addresses

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` unless it fills with random numbers, or converts what was not filled."""
        if func in _RANDOM:
            tensor: torch.Tensor = args[0] if args else (kwargs or {})["tensor"]
            if not tensor.is_meta:
                self._unfilled[tensor.data_ptr()] = tensor
            return tensor
        if func is torch.Tensor.to and len(args) == 2 and not kwargs and isinstance(args[1], torch.dtype):  # noqa: PLR2004
            tensor, dtype = args
            kept = self._unfilled.get(tensor.data_ptr())
            if kept is not None and kept.numel() == tensor.numel() and tensor.dtype != dtype:
                return torch.empty_like(tensor, dtype=dtype)
        return func(*args, **(kwargs or {}))
