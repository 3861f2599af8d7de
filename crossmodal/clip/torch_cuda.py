"""A CUDA device behind the port ``Accelerator``: streams, pinned memory, CUDA graphs.

All calls work on one stream, one after the other: a batch fills the device, and graphs that share their memory must not
run at once. Each call copies on a stream of its own, so its bytes travel while another one's are worked on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from crossmodal.clip.accelerator import Rows

__all__ = ["CudaAccelerator"]

_WARM_UPS: Final = 2
"""Runs before a recording, in which libraries choose their kernels and get their workspaces."""


class CudaAccelerator:
    """``device`` is cuda:N; implements ``Accelerator``."""

    calls = 2
    """One call is prepared and copied while another one is worked on; more would only wait longer."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._working = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._pool = torch.cuda.graph_pool_handle()

    def streams(self) -> "_CudaStreams":
        """Streams of one call at a time."""
        return _CudaStreams(self._device, self._working)

    def host_memory(self, count: int) -> torch.Tensor:
        """Pinned memory."""
        with torch.cuda.device(self._device):  # or the first device gets a context, which costs it memory
            return torch.empty(count, dtype=torch.uint8, pin_memory=True)

    def record(self, rows: Rows, shape: tuple[int, ...], dtype: torch.dtype) -> "_CudaRecording":
        """Capture a CUDA graph, in memory that all graphs share."""
        with torch.cuda.device(self._device):
            with torch.cuda.stream(self._working):
                inputs = torch.zeros(shape, dtype=dtype, device=self._device)
                with torch.inference_mode():
                    for _ in range(_WARM_UPS):
                        rows(inputs)
            self._working.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Only what this thread does may spoil the capture: others may be at work on the same device.
            with (
                torch.inference_mode(),
                torch.cuda.graph(graph, pool=self._pool, stream=self._working, capture_error_mode="thread_local"),
            ):
                outputs = rows(inputs)
        return _CudaRecording(graph, inputs, outputs)


class _CudaRecording:
    """A captured graph with its memory."""

    def __init__(self, graph: torch.cuda.CUDAGraph, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        self._graph = graph
        self.inputs = inputs
        self.outputs = outputs

    def replay(self) -> None:
        """Queue the graph on the stream that is current."""
        self._graph.replay()


class _CudaStreams:
    """One call's copies on a stream of their own, its work on the stream of all."""

    def __init__(self, device: torch.device, working: torch.cuda.Stream) -> None:
        self._device = device
        self._copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._working = working
        self._worked = torch.cuda.Event()  # type: ignore[no-untyped-call]  # the same
        # A wait that does not spin: the processor's cores decode pictures.
        self._fetched = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # the same

    def memory(self, count: int) -> torch.Tensor:
        # From the copying stream's own pool: that of the working stream hands out memory which queued work still reads.
        with torch.cuda.stream(self._copying):
            return torch.empty(count, dtype=torch.uint8, device=self._device)

    @contextmanager
    def upload(self) -> Iterator[None]:
        with torch.cuda.stream(self._copying):
            yield

    @contextmanager
    def compute(self) -> Iterator[None]:
        self._working.wait_stream(self._copying)
        with torch.cuda.stream(self._working):
            yield
        self._worked.record(self._working)

    @contextmanager
    def download(self) -> Iterator[None]:
        self._copying.wait_event(self._worked)
        with torch.cuda.stream(self._copying):
            yield
        self._fetched.record(self._copying)

    def wait(self) -> None:
        self._fetched.synchronize()
