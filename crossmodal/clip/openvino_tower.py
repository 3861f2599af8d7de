"""A compiled tower for a call on all threads, and for several calls beside one another on a share of them each; see ``cores``."""

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from crossmodal.clip.cores import CALLS, Cores
from crossmodal.clip.openvino_library import openvino
from crossmodal.clip.self_check import least_cosine
from crossmodal.errors import ConfigurationError
from crossmodal.memory import release_mapped
from crossmodal.records import Embeddings

__all__ = ["OtherEmbeddings", "Tower"]

_log = structlog.get_logger(__name__)

_Inputs = list[NDArray[Any]]

_WHOLE: Final = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
_DIVIDED: Final = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": CALLS}

_towers: Counter[Path] = Counter()
"""How many were ever made of each graph in this process."""
_making = threading.Lock()


class OtherEmbeddings(ConfigurationError):
    """The exported model does not give here what it gave, or PyTorch in its place, when it was exported or started."""


class Tower:
    """One tower of a model: ``graph`` compiled with ``properties``; may be called from several threads.

    A call that begins while another computes gets a share of the threads. What it takes, the graph compiled a second time with
    weights of its own, is made when calls first meet, beside them; until it is there, or if it cannot be made, a call
    waits for the one before it. It has to give what the first call gave, to a cosine of ``least``: the files may have been
    exchanged since. RuntimeError if the graph cannot be compiled or run.
    """

    def __init__(self, graph: Path, properties: Mapping[str, Any], cores: Cores, *, least: float) -> None:
        self._graph, self._properties, self._cores, self._least = graph, properties, cores, least
        self._weights = graph.with_suffix(".bin").resolve()
        with _making:
            _towers[self._weights] += 1
        compiled = self._compile(_WHOLE)
        self._whole, self._turn = compiled.create_infer_request(), threading.Lock()
        self.precision: str = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.calls = min(CALLS, compiled.get_property("INFERENCE_NUM_THREADS"))
        self._first: tuple[_Inputs, Embeddings] | None = None
        self._begun = threading.Lock()
        self._shares: SimpleQueue[Any] | None = None

    def embed(self, batch: NDArray[Any]) -> Embeddings:
        """Float32 [n, dim] of unit length of a batch of n."""
        inputs = [np.ascontiguousarray(batch)]
        with self._cores.taken() as shared:
            shares = self._divided() if shared and self.calls > 1 else None
            if shares is None:
                with self._turn:
                    embeddings = _infer(self._whole, inputs)
                    self._first = self._first or (inputs, embeddings)
                    return embeddings
            request = shares.get()
            try:
                return _infer(request, inputs)
            finally:
                shares.put(request)

    def release_file(self) -> None:
        """Give back the pages of the graph's file: once it ran, it computes with copies of the weights, in an order of its own.

        Only where this is the file's only tower ever, and nobody unmaps it meanwhile.
        """
        with _making:
            if _towers[self._weights] == 1:
                release_mapped(self._weights)

    def _compile(self, how: Mapping[str, Any]) -> Any:
        return openvino().Core().compile_model(self._graph, "CPU", {**self._properties, **how})

    def _divided(self) -> SimpleQueue[Any] | None:
        """Requests that have a share of the threads each; None where there are none yet, which begins to make them."""
        if self._first is not None and self._begun.acquire(blocking=False):
            try:
                threading.Thread(target=self._divide, args=self._first, name="openvino-divide").start()
            except RuntimeError as error:  # no thread is to be had
                self._stay_whole(error)
        return self._shares

    def _divide(self, inputs: _Inputs, embeddings: Embeddings) -> None:
        try:
            compiled = self._compile(_DIVIDED)
            shares: SimpleQueue[Any] = SimpleQueue()
            for _ in range(self.calls):
                request = compiled.create_infer_request()
                self._check(_infer(request, inputs), embeddings)  # running it prepares the weights, too
                shares.put(request)
            self._shares = shares
            self.release_file()
        except Exception as error:  # noqa: BLE001  whatever it is, calls go on one after the other
            self._stay_whole(error)

    def _check(self, embeddings: Embeddings, first: Embeddings) -> None:
        cosine = least_cosine(embeddings, first)
        if not cosine >= self._least:
            raise OtherEmbeddings(
                f"it embeds otherwise than at the start: cosine {cosine:.6f}, {self._least} is needed"
            )

    def _stay_whole(self, error: Exception) -> None:
        _log.warning("clip_not_divided", graph=self._graph.name, reason=" ".join(str(error).split())[:200])


def _infer(request: Any, inputs: _Inputs) -> Embeddings:
    features = request.infer(inputs)[0]
    rows: Embeddings = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return rows
