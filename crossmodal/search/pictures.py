"""Bytes of a client to a picture the model can take, on a bounded pool of processes outside the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmodal.batching import BULK_TURN, Lane
from crossmodal.errors import ClientError, Overloaded, Shed
from crossmodal.fetching.base import Fetcher
from crossmodal.imaging import ImageLimits
from crossmodal.imaging.decoder import Decoder
from crossmodal.metering import charge
from crossmodal.records import Preprocessing, hash_content
from crossmodal.search.intake import FetchLimits, Intake
from crossmodal.telemetry import count_lost_decoder, record_wait, stage

T = TypeVar("T")

_MEGA = 1_000_000
_MEGAPIXELS_PER_SECOND = 50.0
"""About what a decoder does, of pictures that are quick to decode."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A checked picture: its bytes as they came, and uint8 [size, size, 3] for the model.

    ``thumbnail``, ``signature`` and ``content_hash`` are empty unless they were asked for; ``megapixels`` is the width times the height of the encoded picture
    in millions.
    """

    content: bytes
    pixels: NDArray[np.uint8]
    thumbnail: bytes = b""
    megapixels: float = 0.0
    signature: bytes = b""
    content_hash: str = ""


class _Turns:
    """Idle decoders for those who wait for one: interactive work before bulk work, which gets every eighth turn at least."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        self._idle = list(decoders)
        self._waiting: dict[Lane, deque[asyncio.Future[Decoder]]] = {lane: deque() for lane in Lane}
        self._interactive_run = 0

    async def take(self, lane: Lane) -> Decoder:
        """Wait for a decoder. The last one given back comes first: as many processes run as are needed at a time."""
        if self._idle:
            return self._idle.pop()
        turn: asyncio.Future[Decoder] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(turn.result())
            raise

    def give(self, decoder: Decoder) -> None:
        """Hand a decoder to who is next."""
        lanes = sorted(Lane, key=lambda lane: (lane is Lane.INTERACTIVE) == (self._interactive_run >= BULK_TURN))
        for lane in lanes:
            while self._waiting[lane]:
                turn = self._waiting[lane].popleft()
                if not turn.done():
                    self._interactive_run = self._interactive_run + 1 if lane is Lane.INTERACTIVE else 0
                    turn.set_result(decoder)
                    return
        self._idle.append(decoder)


class PictureReader:
    """Decodes pictures in ``workers`` processes, one at a time in each; at most ``max_queued`` more wait.

    A picture may take ``deadline`` seconds of CPU time and thrice that by the clock, from when it is begun. A process
    that a picture hangs or kills fails that picture and is replaced. Processes are started when they are first needed.
    Without a ``fetcher``, URLs are refused.
    """

    def __init__(
        self,
        limits: ImageLimits,
        *,
        workers: int,
        max_queued: int,
        deadline: float = 10.0,
        fetcher: Fetcher | None = None,
        fetch_limits: FetchLimits = FetchLimits(),  # noqa: B008 -- it cannot be changed
    ) -> None:
        self.limits = limits
        self._fetcher = fetcher
        self._fetch_limits = fetch_limits
        self._decoders = [Decoder(limits, deadline, count_lost_decoder) for _ in range(workers)]
        self._turns = _Turns(self._decoders)
        self._waiters = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._hashers = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._max_queued = max_queued
        self._queued = 0
        self._closed = False

    def begin(self) -> None:
        """Begin to start all processes, without waiting; what prevents it is told by ``start``, or by the first picture."""
        for decoder in self._decoders:
            self._waiters.submit(decoder.start)

    async def start(self) -> None:
        """Start all processes now rather than with the first pictures. Raises ``ServerError`` if that cannot be."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._waiters, decoder.start) for decoder in self._decoders))

    def intake(self) -> Intake:
        """What reads the pictures in the strings of one request."""
        return Intake(self.limits, self._fetcher, self._fetch_limits)

    async def bytes_of(self, text: str) -> bytes:
        """The encoded picture of a request's only string; see ``Intake.bytes_of``."""
        return await self.intake().bytes_of(text)

    async def read(
        self,
        content: bytes,
        preprocessing: Preprocessing,
        *,
        thumbnail: bool = False,
        hashed: bool = False,
        lane: Lane = Lane.INTERACTIVE,
    ) -> Picture:
        """Decode and resize for the model; with ``thumbnail`` make what is kept, too: that and the signature; ``hashed``: its hash.

        Raises ``Overloaded`` when too many wait already or the service is stopping, and what ``Decoder.prepare`` raises. A picture nobody waits for
        any more is not begun.
        """
        with stage("decode"):
            with self._queueing():
                asked = time.perf_counter()
                decoder = await self._turns.take(lane)
                record_wait("decoder", lane, time.perf_counter() - asked)
            try:
                reading = self._begun(self._waiters, self._read, decoder, content, preprocessing, thumbnail, hashed)
            except Overloaded:
                self._turns.give(decoder)  # whoever waits for one has to hear it, too
                raise
            # What was begun goes on when the client leaves, and its process is busy until it ends.
            reading.add_done_callback(lambda _: self._turns.give(decoder))
            began = time.perf_counter()
            try:
                picture = await asyncio.shield(reading)
            except ClientError:
                # How large it is nobody knows, but how long it took: pictures that fail late must not be the cheap ones.
                charge(megapixels=(time.perf_counter() - began) * _MEGAPIXELS_PER_SECOND)
                raise
        charge(megapixels=picture.megapixels)
        return picture

    async def hash(self, content: bytes) -> str:
        """The content hash, made off the event loop: 20 MiB take it 10 ms and more. Raises ``Overloaded`` as ``read`` does."""
        with self._queueing():
            return await self._begun(self._hashers, self._hash, content)

    def close(self) -> None:
        """End the processes; a picture that is being decoded, or comes later, is answered with ``Overloaded``."""
        self._closed = True
        if self._fetcher is not None:
            self._fetcher.close()
        for decoder in self._decoders:
            decoder.close()
        self._waiters.shutdown()
        self._hashers.shutdown()

    def _hash(self, content: bytes) -> str:
        self._check_open()  # it may have waited for others'
        return hash_content(content)

    def _check_open(self) -> None:
        if self._closed:
            raise Overloaded("the service is stopping", shed=Shed.ENDING)

    def _begun(self, pool: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        self._check_open()
        return asyncio.get_running_loop().run_in_executor(pool, call, *arguments)

    @contextmanager
    def _queueing(self) -> Iterator[None]:
        if self._queued >= self._max_queued:
            raise Overloaded(f"{self._queued} pictures wait to be decoded, which is the limit", shed=Shed.DECODERS)
        self._queued += 1
        try:
            yield
        finally:
            self._queued -= 1

    @staticmethod
    def _read(
        decoder: Decoder,
        content: bytes,
        preprocessing: Preprocessing,
        thumbnail: bool,  # noqa: FBT001
        hashed: bool,  # noqa: FBT001
    ) -> Picture:
        prepared = decoder.prepare(content, preprocessing, thumbnail=thumbnail)
        return Picture(
            content,
            prepared.pixels,
            prepared.thumbnail,
            prepared.width * prepared.height / _MEGA,
            prepared.signature,
            hash_content(content) if hashed else "",
        )
