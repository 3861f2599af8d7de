"""Shares out connections among processes that wait for them on one socket.

Of several event loops the one that wakes up first takes all connections that wait, and the kernel tends to wake the same one
first again: of 64 connections two of four processes got all, and kept them for as long as clients keep theirs. Here a process
takes connections at once as long as no other has fewer, give or take one. Otherwise it leaves them to those for a moment, and takes
some if they still wait then: whoever has fewer may be busy. Of one that is stopped or dead the others hear nothing, and do not
wait for it.
"""

import asyncio
import errno
import mmap
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Any, Final

import structlog
import uvicorn

__all__ = ["Acceptor", "Counts", "EndableProtocol", "share_connections"]

SLOTS: Final = 128
"""Processes that can be told apart; twice as many as there may be, since one may begin before another has ended."""
SLACK: Final = 1
"""So many more connections than another a process may have before it leaves new ones to that."""
PATIENCE_SECONDS: Final = 0.005
"""How long a connection is left to others. Event loops are seldom busy for longer, and a client hardly notices."""
SILENCE_SECONDS: Final = 0.5
"""Who has told nothing for so long is not waited for; uvicorn's servers tell every tenth of a second."""
_AT_ONCE: Final = 16
"""Connections taken in one turn of the event loop."""
_LEFT_OVER: Final = 4
"""Connections taken in one turn that others had time to take."""
_FULL_SECONDS: Final = 1.0
"""How long nothing is taken when there are no more files or there is no more memory, as in asyncio."""
_GREETING_SECONDS: Final = 5.0
"""How long a server that ends waits for connections that are being made."""
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_ENTRY = Struct("<II")
_MILLISECONDS = 2**32
_log = structlog.get_logger(__name__)


class EndableProtocol(asyncio.Protocol):
    """What an ``Acceptor`` gives a connection, as uvicorn's are."""

    def shutdown(self) -> None:
        """End once what is under way is finished."""
        raise NotImplementedError


class Counts:
    """How many connections each process of a service has, in a file that all of them have mapped.

    An entry is the connections and 1, or 0 where there is no process, and when that was told, in milliseconds of the monotonic clock,
    which is the same for all processes of a machine.
    """

    def __init__(self, path: Path, place: int) -> None:
        """``place`` is that of this process, 0 to ``SLOTS`` - 1; the file is made if there is none. Raises OSError."""
        with path.open("a+b") as file:
            os.posix_fallocate(file.fileno(), 0, SLOTS * _ENTRY.size)  # or a full disk would kill who writes
            self._memory = mmap.mmap(file.fileno(), SLOTS * _ENTRY.size)
        self._place = place

    def set(self, connections: int) -> None:
        """Tell the others."""
        self._write(connections + 1)

    def leave(self) -> None:
        """No more connections are taken here."""
        self._write(0)

    def fewest_of_others(self) -> int | None:
        """The fewest connections that another process has which has told lately; None if there is no other."""
        now = _milliseconds()
        return min(
            (
                number - 1
                for place, (number, told) in enumerate(_ENTRY.iter_unpack(self._memory))
                if number and place != self._place and (now - told) % _MILLISECONDS < SILENCE_SECONDS * 1000
            ),
            default=None,
        )

    def _write(self, number: int) -> None:
        _ENTRY.pack_into(self._memory, self._place * _ENTRY.size, number, _milliseconds())


def _milliseconds() -> int:
    return int(time.monotonic() * 1000) % _MILLISECONDS


class Acceptor:
    """Takes connections from ``listener``, which other processes share, and gives each a protocol; as asyncio's ``Server``.

    Belongs to the event loop that runs when it is made, and begins at once.
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], EndableProtocol],
        counts: Counts,
        *,
        connections: Callable[[], int],
        tls: ssl.SSLContext | None = None,
        backlog: int = 2048,
    ) -> None:
        """``connections`` says how many there are in this process, without those that are being made."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make = make
        self._counts = counts
        self._connections = connections
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        listener.settimeout(0)
        listener.listen(backlog)
        self.tell()
        self._watch()

    @property
    def resting(self) -> bool:
        """Whether connections that wait are left to others now."""
        return self._timer is not None

    @property
    def making(self) -> int:
        """Connections that have been taken and have no protocol yet."""
        return len(self._tasks)

    def tell(self) -> None:
        """Tell the other processes how many connections there are in this one."""
        if not self._closed:
            self._counts.set(self._own())

    def close(self) -> None:
        """Take no more connections."""
        if self._closed:
            return
        self._closed = True
        self._counts.leave()
        if self._timer is None:
            self._loop.remove_reader(self._listener)
        else:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """Wait for the connections that are being made; not for long where a client takes its time with TLS."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_GREETING_SECONDS)
            for task in late:
                task.cancel()

    def _own(self) -> int:
        return self._connections() + self.making

    def _watch(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener, self._come)

    def _come(self) -> None:
        """Connections wait."""
        fewest = self._counts.fewest_of_others()
        most = _AT_ONCE if fewest is None else min(_AT_ONCE, fewest + SLACK + 1 - self._own())
        if most > 0:
            self._take(most)
        else:
            self._rest(PATIENCE_SECONDS, self._insist)

    def _rest(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, then)

    def _insist(self) -> None:
        """Take what nobody else took."""
        self._watch()
        self._take(_LEFT_OVER)

    def _take(self, most: int) -> None:
        before = self.making
        try:
            while self.making < before + most:
                connection, _ = self._listener.accept()
                task = self._loop.create_task(self._begin(connection))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except OSError as error:  # no more wait, another process was quicker, or the client has left
            if error.errno in _FULL:
                _log.error("no connection can be taken", reason=str(error))
                self._rest(_FULL_SECONDS, self._watch)
        self.tell()

    async def _begin(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(0)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, protocol = await self._loop.connect_accepted_socket(self._make, connection, ssl=self._tls)
            if self._closed:
                # The server has told the others, and would wait for this one as long as its client keeps it.
                protocol.shutdown()
        except OSError as error:  # it has ended already, or does not speak TLS
            connection.close()
            _log.debug("connection not made", reason=str(error))


def share_connections(counts: Counts) -> None:
    """Let uvicorn servers that are made in this process from now on share their connections with others'."""

    class SharingServer(uvicorn.Server):
        """Takes connections through ``Acceptor``."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=[] if sockets else None)
            self._acceptors = [self._acceptor(each) for each in sockets or []]
            self.servers += self._acceptors  # type: ignore[arg-type]  # as far as uvicorn uses them they are

        async def on_tick(self, counter: int) -> bool:
            for acceptor in self._acceptors:
                acceptor.tell()  # connections that ended
            return await super().on_tick(counter)

        def _acceptor(self, listener: socket.socket) -> Acceptor:
            config, state = self.config, self.server_state
            protocol: Any = config.http_protocol_class

            def make() -> EndableProtocol:
                made: EndableProtocol = protocol(config=config, server_state=state, app_state=self.lifespan.state)
                return made

            return Acceptor(
                listener,
                make,
                counts,
                connections=lambda: len(state.connections),
                tls=config.ssl,
                backlog=config.backlog,
            )

    uvicorn.Server = SharingServer  # type: ignore[misc]
