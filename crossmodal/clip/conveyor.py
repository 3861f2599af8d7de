"""Carries batches to a device and embeddings back, several calls at a time.

Bytes go through memory that the device copies by itself, and one call's bytes travel while another's are worked on. A
small model's work on a GPU takes less time than launching it, kernel by kernel, so the work on batches of a few sizes is
recorded at the start and replayed; a batch is padded to the next of them. A recording is compared with the tower itself
before it may serve. Whatever goes wrong with recordings, the tower itself is run from then on, with a warning.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from crossmodal.clip.accelerator import Accelerator, Recording, Rows, Streams
from crossmodal.clip.buckets import Shape, closest
from crossmodal.clip.self_check import least_cosine
from crossmodal.records import Embeddings

__all__ = ["Conveyor", "Tower"]

_log = structlog.get_logger(__name__)

Batch = NDArray[Any]


class Tower:
    """``rows``, and recordings of it by the shape of their batch; at most ``most`` items go in at once."""

    def __init__(self, name: str, rows: Rows, *, most: int) -> None:
        self.name = name
        self.rows = rows
        self.most = most
        self._recordings: dict[Shape, Recording] = {}

    @property
    def recorded(self) -> tuple[Shape, ...]:
        """Shapes of the recordings there are."""
        return tuple(self._recordings)

    def record(
        self, accelerator: Accelerator, shapes: Sequence[Shape], example: Callable[[Shape], Batch], least: float
    ) -> None:
        """Record batches of ``shapes``, the largest first: the later ones then fit into its memory.

        ``example`` makes a batch of a shape, on which each recording must come within a cosine of ``least`` to ``rows``.
        """
        streams = accelerator.streams()
        for shape in shapes:
            batch = torch.from_numpy(example(shape))
            try:
                recording = accelerator.record(self.rows, shape, batch.dtype)
                cosine = self._compare(recording, batch, streams)
            except torch.OutOfMemoryError:
                _log.info("clip_recording_too_large", tower=self.name, shape=shape)
                continue
            except RuntimeError as error:
                self.forget(" ".join(str(error).split())[:200])
                return
            if cosine < least:
                self.forget(f"embeddings of batches {shape} come out otherwise: cosine {cosine:.6f}")
                return
            self._recordings[shape] = recording

    def shape_for(self, shape: Shape) -> Shape:
        """What a batch of ``shape`` is padded to."""
        return closest(shape, self.recorded) or shape

    def run(self, batch: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Rows of ``batch``, whose items are padded as ``shape`` says, its first side the number of items."""
        recording = self._recordings.get(shape)
        if recording is None:
            return self.rows(batch)
        try:
            recording.inputs[: len(batch)].copy_(batch)
            recording.replay()
        except RuntimeError as error:
            self.forget(" ".join(str(error).split())[:200])
            return self.rows(batch)
        return recording.outputs[: len(batch)].clone()  # the next call's replay writes there

    def forget(self, reason: str) -> None:
        """Do without recordings from now on."""
        self._recordings = {}
        _log.warning("clip_recordings_not_used", tower=self.name, reason=reason)

    def _compare(self, recording: Recording, batch: torch.Tensor, streams: Streams) -> float:
        with torch.inference_mode():
            with streams.compute():
                recording.inputs.copy_(batch)
                recording.replay()
                rows = self.rows(recording.inputs)
            with streams.download():
                ours, reference = recording.outputs.cpu(), rows.cpu()
        return least_cosine(ours.numpy(), reference.numpy())


class _Slot:
    """What one call at a time needs: its streams, and memory on both sides that only grows."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.streams: Streams = accelerator.streams()
        self._make = {"in": accelerator.host_memory, "there": self.streams.memory, "out": accelerator.host_memory}
        self._memory: dict[str, torch.Tensor] = {}

    def memory(self, place: str, shape: Shape, dtype: torch.dtype) -> torch.Tensor:
        count = int(np.prod(shape)) * dtype.itemsize
        if place not in self._memory or len(self._memory[place]) < count:
            self._memory[place] = self._make[place](count)
        return self._memory[place][:count].view(dtype).view(shape)


class Conveyor:
    """The way of batches through ``accelerator``; at most its ``calls`` at a time, others wait for their turn."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._slots: SimpleQueue[_Slot] = SimpleQueue()
        for _ in range(accelerator.calls):
            self._slots.put(_Slot(accelerator))
        self._computing = threading.Lock()

    def carry(self, tower: Tower, batch: Batch) -> Embeddings:
        """Embed ``batch``, n >= 1 items, in pieces of no more than the tower takes; float32 [n, dim] of unit length."""
        pieces = [batch[start : start + tower.most] for start in range(0, len(batch), tower.most)]
        with self._slot() as slot:
            return np.concatenate([self._carry(slot, tower, piece) for piece in pieces])

    def _carry(self, slot: _Slot, tower: Tower, batch: Batch) -> Embeddings:
        shape = tower.shape_for(batch.shape)
        padded = (len(batch), *shape[1:])  # items that are missing are not sent
        source = torch.from_numpy(batch)
        sent = slot.memory("in", padded, source.dtype)
        if padded != batch.shape:
            sent.zero_()
        sent[tuple(slice(side) for side in batch.shape)].copy_(source)
        there = slot.memory("there", padded, source.dtype)
        with torch.inference_mode():
            with slot.streams.upload():
                there.copy_(sent, non_blocking=True)
            # A recording's inputs and outputs are everybody's: from filling the one to emptying the other is one piece.
            with self._computing, slot.streams.compute():
                rows = tower.run(there, shape)
            fetched = slot.memory("out", tuple(rows.shape), rows.dtype)
            with slot.streams.download():
                fetched.copy_(rows, non_blocking=True)
        slot.streams.wait()
        made: Embeddings = fetched.numpy().copy()
        return made

    @contextmanager
    def _slot(self) -> Iterator[_Slot]:
        slot = self._slots.get()
        try:
            yield slot
        finally:
            self._slots.put(slot)
