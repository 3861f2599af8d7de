"""A connection's transport that sends the head of an answer together with what follows it.

uvicorn writes the head and the body of an answer one after the other, and each is sent at once: two calls of the system,
two packets, and a client that is woken twice. For a small answer that is a good part of its cost.
"""

import asyncio
from typing import Any

_JOINED_BYTES = 64 * 1024
"""What is longer is not copied to be joined; then it is no loss to send it by itself."""


class JoiningTransport:
    """``transport``, of which the first of several writes in a row waits for the next, at most until the loop is free."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data`` after what is held, or hold it; views, as of arrays that BentoML answers, are copied to be held."""
        held = self._held
        if held:
            self._held = b""
            if len(data) <= _JOINED_BYTES:
                self._transport.write(held + data)
            else:
                self._transport.write(held)
                self._transport.write(data)
        elif len(data) <= _JOINED_BYTES:
            self._held = bytes(data)
            self._call_soon(self._send_held)
        else:
            self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        """Bytes that are not sent yet."""
        return self._transport.get_write_buffer_size() + len(self._held)

    def close(self) -> None:
        """Close once everything is sent."""
        self._send_held()
        self._transport.close()

    def _send_held(self) -> None:
        held, self._held = self._held, b""
        if held:
            self._transport.write(held)
