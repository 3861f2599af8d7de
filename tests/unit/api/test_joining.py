"""The transport that joins the head of an answer with its body."""

import asyncio
from typing import Any, cast

import pytest

from crossmodal.api.joining import JoiningTransport


class Sent:
    """Keeps what a transport would send, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed_after: int | None = None

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def get_write_buffer_size(self) -> int:
        return 7

    def close(self) -> None:
        self.closed_after = len(self.pieces)

    def is_closing(self) -> bool:
        return self.closed_after is not None


@pytest.fixture
async def joined() -> tuple[Any, Sent]:
    sent = Sent()
    return JoiningTransport(cast("asyncio.Transport", sent), asyncio.get_running_loop()), sent


async def test_two_writes_are_sent_together(joined: tuple[Any, Sent]) -> None:
    transport, sent = joined
    transport.write(b"head ")
    assert sent.pieces == []
    transport.write(b"body")
    assert sent.pieces == [b"head body"]
    await asyncio.sleep(0)
    assert sent.pieces == [b"head body"]


async def test_views_are_joined_and_held_as_they_were(joined: tuple[Any, Sent]) -> None:
    transport, sent = joined
    reused = bytearray(b"one ")
    for piece in (memoryview(reused), memoryview(b"two "), reused[:0], memoryview(b"three ")):
        transport.write(piece)
    transport.write(b"four")
    assert b"".join(sent.pieces) == b"one two three four"
    transport.write(memoryview(reused))
    reused[:] = b"!!!!"
    await asyncio.sleep(0)
    assert b"".join(sent.pieces) == b"one two three fourone "


async def test_one_write_is_sent_when_the_loop_is_free(joined: tuple[Any, Sent]) -> None:
    transport, sent = joined
    transport.write(b"head")
    assert transport.get_write_buffer_size() == 7 + 4
    await asyncio.sleep(0)
    assert sent.pieces == [b"head"]
    assert transport.get_write_buffer_size() == 7


async def test_order_is_kept_whatever_the_sizes(joined: tuple[Any, Sent]) -> None:
    transport, sent = joined
    sizes = [1, 200_000, 3, 4, 5, 65_536, 65_537, 0, 9]
    data = [bytes([number]) * size for number, size in enumerate(sizes)]
    for piece in data:
        transport.write(piece)
    await asyncio.sleep(0)
    assert b"".join(sent.pieces) == b"".join(data)
    assert max(map(len, sent.pieces)) == 200_000


async def test_closing_sends_what_is_held_first(joined: tuple[Any, Sent]) -> None:
    transport, sent = joined
    transport.write(b"last words")
    transport.close()
    assert sent.pieces == [b"last words"]
    assert sent.closed_after == 1
    assert transport.is_closing()
    await asyncio.sleep(0)
    assert sent.pieces == [b"last words"]
