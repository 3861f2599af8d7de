"""The port between a model and a device that works beside the host: what is sent, queued, recorded and fetched."""

from contextlib import AbstractContextManager
from typing import Protocol

import torch

__all__ = ["Accelerator", "Recording", "Rows", "Streams"]


class Rows(Protocol):
    """A tower: a batch on the device to float32 [n, dim] of unit length, without a word from the host in between."""

    def __call__(self, batch: torch.Tensor, /) -> torch.Tensor:
        """Embed ``batch``; row i of the result depends on row i of the batch alone."""


class Recording(Protocol):
    """A tower's work on a batch of one shape: ``replay`` reads ``inputs`` and writes ``outputs``, both on the device."""

    inputs: torch.Tensor
    outputs: torch.Tensor

    def replay(self) -> None:
        """Queue the work."""


class Streams(Protocol):
    """One call's way to the device and back. Inside each block, work is queued behind what the block before queued."""

    def memory(self, count: int) -> torch.Tensor:
        """Uint8 [count] on the device, to upload into; nobody else's work is still using it."""

    def upload(self) -> AbstractContextManager[None]:
        """Copy to the device here."""

    def compute(self) -> AbstractContextManager[None]:
        """Work here, behind everything that other calls have queued to work."""

    def download(self) -> AbstractContextManager[None]:
        """Copy to the host here."""

    def wait(self) -> None:
        """Block until what was downloaded is there, and no longer; the processor is free for others meanwhile."""


class Accelerator(Protocol):
    """A device. ``calls`` is how many calls may be under way on it at a time."""

    calls: int

    def streams(self) -> Streams:
        """The streams of one call at a time."""

    def host_memory(self, count: int) -> torch.Tensor:
        """Uint8 [count] on the host, from and to where the device copies by itself."""

    def record(self, rows: Rows, shape: tuple[int, ...], dtype: torch.dtype) -> Recording:
        """Record ``rows`` on zeros; a RuntimeError, ``torch.OutOfMemoryError`` among them, if that cannot be done."""
