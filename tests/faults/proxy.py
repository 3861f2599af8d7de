"""A TCP proxy on loopback that can misbehave in the ways networks and servers do."""

import socket
import struct
import threading
import time
from contextlib import suppress
from enum import Enum
from typing import Self

from tools.servers import free_port

_RESET = struct.pack("ii", 1, 0)


class Mode(Enum):
    """What happens to connections from now on; those that are open are cut when it changes."""

    FORWARD = "forward"
    REFUSE = "refuse"
    HANG = "hang"  # accepted, and never answered
    RESET = "reset"  # the request goes through, its answer is cut off by a reset
    GARBAGE = "garbage"  # answered by something that is no HTTP
    SLOW = "slow"  # every answer a second late


class Proxy:
    """Forwards to ``target`` on loopback from ``port``, in the way ``mode`` says."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._target = target
        self._mode = Mode.FORWARD
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._mode = Mode.REFUSE
        self._cut()

    @property
    def mode(self) -> Mode:
        """How it behaves."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self._cut()
        if mode is not Mode.REFUSE:
            self._listen()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _cut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            _close(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        mode = self._mode
        if mode is Mode.HANG:
            return
        try:
            if mode is Mode.GARBAGE:
                client.recv(65536)
                client.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
                _close(client)
                return
            server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            _close(client)
            return
        server.settimeout(None)
        with self._lock:
            self._open.add(server)
        threading.Thread(target=self._pump, args=(client, server, Mode.FORWARD), daemon=True).start()
        self._pump(server, client, mode)

    def _pump(self, source: socket.socket, sink: socket.socket, mode: Mode) -> None:
        try:
            while data := source.recv(65536):
                if mode is Mode.RESET:
                    sink.sendall(data[: len(data) // 2])
                    sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    sink.close()
                    break
                if mode is Mode.SLOW:
                    time.sleep(1)
                sink.sendall(data)
        except OSError:
            pass
        _close(source)
        _close(sink)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it
    connection.close()
