"""Layers of OpenCLIP's towers in forms that take a GPU less time, with the same results but for rounding.

Both are measured on an H200 with ViT-B-32 in bf16, batch 128, of whose 4.9 ms the matrix products of its blocks take 1.7
(docs/adr/0019-gpu.md): cuDNN's convolution of patches takes 0.9 ms, most of it for five colours that are not there; and norms that go to fp32 and back pass over memory three times, 0.9 ms together.
"""

from collections.abc import Callable
from typing import Any

import torch
from open_clip.transformer import LayerNormFp32, VisionTransformer
from torch.nn import functional

__all__ = ["replace_layers"]


class PatchProduct(torch.nn.Module):
    """A convolution whose patches neither overlap nor leave gaps, as one product: [n, 3, h, w] to [n, width, rows, columns]."""

    def __init__(self, convolution: torch.nn.Conv2d) -> None:
        super().__init__()
        self._side = convolution.kernel_size[0]
        # In the order of colours-last pixels: row, column, colour.
        self._weight = convolution.weight.permute(0, 2, 3, 1).flatten(1).contiguous()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Multiply every patch with the weights; ``batch`` has its colours last in memory, and so has the result."""
        items, colours, height, width = batch.shape
        rows, columns, side = height // self._side, width // self._side, self._side
        # What is beyond the last whole patch is not seen, as by the convolution.
        pixels = batch.permute(0, 2, 3, 1)[:, : rows * side, : columns * side]
        patches = pixels.reshape(items, rows, side, columns, side, colours).transpose(2, 3).flatten(3)
        return functional.linear(patches, self._weight).permute(0, 3, 1, 2)


class PlainNorm(torch.nn.Module):
    """A layer norm in the model's own numbers; PyTorch's kernels compute mean and variance in fp32 all the same."""

    def __init__(self, norm: torch.nn.LayerNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self._shape, self._eps = norm.normalized_shape, norm.eps
        affine: tuple[torch.Tensor | None, ...] = (norm.weight, norm.bias)
        self._weight, self._bias = (None if each is None else each.to(dtype) for each in affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last sides of ``x``."""
        return functional.layer_norm(x, self._shape, self._weight, self._bias, self._eps)


def replace_layers(model: Any, dtype: torch.dtype) -> Callable[[], None]:
    """Replace what can be replaced in a model that runs in ``dtype``; returns what puts everything back."""
    replaced: list[tuple[Any, str, torch.nn.Module]] = []
    for owner in list(model.modules()):
        for name, layer in list(owner.named_children()):
            other = _replacement(owner, layer, dtype)
            if other is not None:
                replaced.append((owner, name, layer))
                setattr(owner, name, other)

    def put_back() -> None:
        for owner, name, layer in replaced:
            setattr(owner, name, layer)

    return put_back


def _replacement(owner: Any, layer: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module | None:
    if isinstance(layer, LayerNormFp32) and dtype != torch.float32:
        return PlainNorm(layer, dtype)
    if type(owner) is VisionTransformer and layer is owner.conv1 and _is_of_patches(layer):
        return PatchProduct(layer)
    return None


def _is_of_patches(layer: torch.nn.Conv2d) -> bool:
    return (
        layer.kernel_size == layer.stride == (layer.kernel_size[0],) * 2
        and layer.padding == (0, 0)
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.bias is None
    )
