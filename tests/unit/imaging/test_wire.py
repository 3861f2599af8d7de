"""What a decoding process answers is read with suspicion."""

import fcntl
import os
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from crossmodal.errors import ClientError, ImageTooLarge, ImageUndecodable, PayloadTooLarge, UnsupportedMediaType
from crossmodal.imaging import Prepared, wire
from crossmodal.imaging.signature import SIGNATURE_BYTES
from crossmodal.records import Preprocessing

SIZE = 4
SIGNATURE = bytes(range(256)) + bytes(SIGNATURE_BYTES - 256)


def feed(*parts: bytes) -> tuple[bytes, Callable[[int], bytearray]]:
    """A head and a function that gives out what follows it."""
    rest = bytearray(b"".join(parts[1:]))

    def receive(count: int) -> bytearray:
        assert count <= len(rest), "more was asked for than was sent"
        taken = rest[:count]
        del rest[:count]
        return taken

    return parts[0], receive


def test_an_order_holds_the_whole_preprocessing() -> None:
    wanted = Preprocessing(224, "bilinear", "longest", (0.1, 0.2, 0.3), (1.0, 1.0, 0.5), 7, "reference")
    packed = wire.pack_order(b"12345", wanted, thumbnail=True)
    length, content, thumbnail = wire.ORDER.unpack(packed[: wire.ORDER.size])
    assert (content, thumbnail) == (5, True)
    found = wire.unpack_preprocessing(packed[wire.ORDER.size : wire.ORDER.size + length])
    assert (found.size, found.interpolation, found.resize_mode) == (224, "bilinear", "longest")
    assert (found.fill_color, found.profile) == (7, "reference")
    assert tuple(found.mean) == wanted.mean
    assert len(packed) == wire.ORDER.size + length


def test_an_answer_arrives() -> None:
    pixels = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3)
    made = wire.unpack_answer(*_order(wire.pack_prepared(Prepared(50, 30, pixels, b"webp", SIGNATURE))))
    assert np.array_equal(made.pixels, pixels)
    assert made.pixels.flags.writeable
    assert (made.width, made.height, made.thumbnail, made.signature) == (50, 30, b"webp", SIGNATURE)


def test_an_answer_without_what_is_kept_arrives() -> None:
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    made = wire.unpack_answer(*_order(wire.pack_prepared(Prepared(50, 30, pixels, b""))))
    assert (made.thumbnail, made.signature) == (b"", b"")


@pytest.mark.parametrize("kind", [PayloadTooLarge, UnsupportedMediaType, ImageUndecodable, ImageTooLarge])
def test_a_fault_of_the_picture_arrives(kind: type[ClientError]) -> None:
    with pytest.raises(kind) as caught:
        wire.unpack_answer(*_order(wire.pack_refused(kind("käse"))))
    assert caught.value.detail == "käse"


def test_a_fault_of_the_program_arrives() -> None:
    with pytest.raises(wire.BadAnswer, match="ZeroDivisionError"):
        wire.unpack_answer(*_order(wire.pack_broken("x" * 50_000 + "ZeroDivisionError")))


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (wire.ANSWER.pack(0, 1, 1, 4_000_000_000, 0, 0), b""),  # more pixels than were asked for
        (wire.ANSWER.pack(0, 1, 1, SIZE * SIZE * 3, 4_000_000_000, 0), b""),  # a thumbnail without end
        (wire.ANSWER.pack(0, 1, 1, SIZE * SIZE * 3 - 1, 0, 0), b""),
        (wire.ANSWER.pack(0, 1, 1, SIZE * SIZE * 3, 0, 4_000_000_000), b""),  # a signature without end
        (wire.ANSWER.pack(0, 1, 1, SIZE * SIZE * 3, 0, len(SIGNATURE) - 1), b""),
        (wire.ANSWER.pack(1, 0, 0, 9, 1, 1), b"Forbidden!x"),
        (wire.ANSWER.pack(1, 0, 0, 4_000_000_000, 4_000_000_000, 0), b""),
        (wire.ANSWER.pack(1, 0, 0, 9, 1, 0), b"Forbidden!"),  # an error that is not its to raise
        (wire.ANSWER.pack(1, 0, 0, 0, 0, 0), b""),
        (wire.ANSWER.pack(9, 0, 0, 2, 2, 0), b"abcd"),
        (wire.ANSWER.pack(2, 0, 0, 0, 2, 0), b"\xff\xfe"),
    ],
)
def test_an_answer_out_of_form_is_refused(head: bytes, rest: bytes) -> None:
    with pytest.raises(wire.BadAnswer):
        wire.unpack_answer(*_order((head, rest, b"")))


def _order(parts: tuple[bytes, ...]) -> tuple[bytes, int, Callable[[int], bytearray]]:
    head, receive = feed(*parts)
    return head, SIZE, receive


@pytest.mark.parametrize("parts", [(b"a" * 10_000, b"", b"b" * 3, b"c" * 9_000), (b"", b"x"), (b"",), ()])
def test_parts_cross_a_pipe_that_is_too_small_for_them(parts: tuple[bytes, ...]) -> None:
    out, into = os.pipe()
    os.set_blocking(into, False)
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    received = b""
    left: Sequence[wire.Part] = parts
    try:
        while left:
            left = wire.write_some(into, left)
            received += os.read(out, 4_096) if any(parts) else b""
        os.close(into)
        while more := os.read(out, 65_536):
            received += more
    finally:
        os.close(out)
    assert received == b"".join(parts)


def test_a_full_pipe_loses_nothing() -> None:
    out, into = os.pipe()
    os.set_blocking(into, False)
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
    left = wire.write_some(into, [b"a" * 5_000, b"b"])
    assert [bytes(part) for part in left] == [b"a" * 904, b"b"]
    with pytest.raises(BlockingIOError):
        wire.write_some(into, left)
    os.close(into)
    os.close(out)
