"""An accelerator that is the host itself: what a conveyor asks of a device, done at once, and written down."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from crossmodal.clip.accelerator import Rows


class HostRecording:
    """Computes the tower on its own memory when it is replayed."""

    def __init__(self, owner: "HostAccelerator", rows: Rows, inputs: torch.Tensor) -> None:
        self._owner, self._rows = owner, rows
        self.inputs = inputs
        with torch.inference_mode():
            self.outputs = rows(inputs).clone()

    def replay(self) -> None:
        if self._owner.replays_until_failure == 0:
            raise RuntimeError("the device is\ngone")
        self._owner.replays_until_failure -= 1
        self._owner.replayed.append(tuple(self.inputs.shape))
        self.outputs.copy_(self._rows(self.inputs))
        if self._owner.wrong:
            self.outputs.copy_(self.outputs.roll(1, dims=-1))


class HostStreams:
    """Runs everything where it stands; writes down the order, and how many calls compute at once."""

    def __init__(self, owner: "HostAccelerator") -> None:
        self._owner = owner
        self._fetched = threading.Event()

    def memory(self, count: int) -> torch.Tensor:
        self._owner.allocated.append(count)
        return torch.full((count,), 255, dtype=torch.uint8)  # as if somebody had used it before

    @contextmanager
    def upload(self) -> Iterator[None]:
        self._owner.steps.append("upload")
        yield

    @contextmanager
    def compute(self) -> Iterator[None]:
        self._owner.steps.append("compute")
        self._owner.computing += 1
        self._owner.most_computing = max(self._owner.most_computing, self._owner.computing)
        yield
        self._owner.computing -= 1

    @contextmanager
    def download(self) -> Iterator[None]:
        self._owner.steps.append("download")
        yield
        self._fetched.set()

    def wait(self) -> None:
        self._owner.steps.append("wait")
        assert self._fetched.is_set(), "nothing was downloaded"
        self._fetched.clear()


class HostAccelerator:
    """A device of the host's own.

    What recordings give is not ``wrong`` unless wished; ``too_large`` is the number of items from which memory is short;
    ``unrecordable`` fails every recording; replays fail after ``replays_until_failure``.
    """

    calls = 2

    def __init__(
        self,
        *,
        wrong: bool = False,
        too_large: int = 1 << 30,
        unrecordable: bool = False,
        replays_until_failure: int = -1,
    ) -> None:
        self.wrong = wrong
        self.replays_until_failure = replays_until_failure
        self._too_large = too_large
        self._unrecordable = unrecordable
        self.replayed: list[tuple[int, ...]] = []
        self.allocated: list[int] = []
        self.steps: list[str] = []
        self.computing = self.most_computing = 0
        self.opened = 0

    def streams(self) -> HostStreams:
        self.opened += 1
        return HostStreams(self)

    def host_memory(self, count: int) -> torch.Tensor:
        self.allocated.append(count)
        return torch.full((count,), 255, dtype=torch.uint8)

    def record(self, rows: Rows, shape: tuple[int, ...], dtype: torch.dtype) -> HostRecording:
        if shape[0] >= self._too_large:
            raise torch.OutOfMemoryError("no memory")
        if self._unrecordable:
            raise RuntimeError("operation not permitted\nwhen the stream is capturing")
        return HostRecording(self, rows, torch.zeros(shape, dtype=dtype))
