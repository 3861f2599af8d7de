"""The bytes between an API and an encoder that is served elsewhere: a small head, then pixels, texts or vectors as they are.

All numbers are little-endian. A request is a head, the fingerprint of the model that is meant, and the items; an answer is a
head and float32 rows. Who reads trusts nothing: every length is checked against the bytes that came before anything is made
of them, and what does not fit is refused whole.
"""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.batching import Lane
from crossmodal.records import Pixels

PATH = "/v1/encoder"
"""Where the methods are, each below it by its name: POST `embed_pixels` and `embed_texts`, GET `describe`."""
MEDIA_TYPE = "application/vnd.crossmodal.vectors"

VERSION = 1
_MAGIC = b"CMV"
_LANES = (Lane.INTERACTIVE, Lane.BULK)
_PIXELS, _TEXTS, _ROWS = range(1, 4)

REQUEST = Struct("<3sBBBHIIf")
"""Magic, version, kind, lane, bytes of the fingerprint, items, side of the pixels (0 for texts), seconds left."""
ANSWER = Struct("<3sBHHI")
"""Magic, version, kind, columns, rows."""

MAX_ITEMS = 65_536
MAX_SIDE = 4096
MAX_COLUMNS = 16_384
MAX_FINGERPRINT = 255
MAX_SECONDS = 86_400.0
MAX_INFO_BYTES = 2**20
"""Of what `describe` answers, and of a problem."""

Message = bytes | bytearray | memoryview


class BadMessage(Exception):
    """What came does not keep to the form; says how."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is said of the items of a request.

    ``fingerprint`` names the model that is meant, in 1 to 255 ASCII characters; ``seconds`` is how long somebody waits for
    the answer, above 0 and up to a day.
    """

    lane: Lane
    fingerprint: str
    seconds: float


def pack_pixels(pixels: Pixels, order: Order) -> bytes:
    """A request to embed uint8 [n, size, size, 3], n >= 1. Raises ``BadMessage`` for what its reader would refuse."""
    shaped = pixels.ndim == 4 and pixels.shape[1:] == (pixels.shape[1], pixels.shape[1], 3)  # noqa: PLR2004 -- as written
    if pixels.dtype != np.uint8 or not shaped:
        raise BadMessage(f"pixels are {pixels.dtype} {pixels.shape}; uint8 [n, size, size, 3] is the form")
    _check_side(pixels.shape[1])
    head = _pack_head(_PIXELS, order, items=len(pixels), side=pixels.shape[1])
    return head + pixels.tobytes()


def unpack_pixels(message: Message) -> tuple[Order, Pixels]:
    """The reverse of ``pack_pixels``; the pixels are a view of ``message``. Raises ``BadMessage``."""
    order, items, side, rest = _unpack_head(_PIXELS, message)
    _check_side(side)
    if len(rest) != items * side * side * 3:
        raise BadMessage(f"{len(rest)} bytes of pixels for {items} pictures with a side of {side}")
    return order, np.frombuffer(rest, dtype=np.uint8).reshape(items, side, side, 3)


def pack_texts(texts: Sequence[str], order: Order) -> bytes:
    """A request to embed n >= 1 texts, lone surrogates included. Raises ``BadMessage`` for what its reader would refuse."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    head = _pack_head(_TEXTS, order, items=len(texts), side=0)
    return b"".join((head, np.array([len(each) for each in encoded], dtype="<u4").tobytes(), *encoded))


def unpack_texts(message: Message) -> tuple[Order, list[str]]:
    """The reverse of ``pack_texts``. Raises ``BadMessage``."""
    order, items, side, rest = _unpack_head(_TEXTS, message)
    table = items * 4
    if side or len(rest) < table:
        raise BadMessage(f"{len(rest)} bytes for {items} texts with a side of {side}")
    lengths = np.frombuffer(rest[:table], dtype="<u4")
    ends = table + np.cumsum(lengths, dtype=np.uint64)
    if int(ends[-1]) != len(rest):
        raise BadMessage(f"the texts are said to end after {ends[-1]} bytes, and {len(rest)} came")
    bounds = [table, *ends.tolist()]
    try:
        return order, [str(rest[begin:end], "utf-8", "surrogatepass") for begin, end in itertools.pairwise(bounds)]
    except UnicodeDecodeError as error:
        raise BadMessage(f"a text is not UTF-8: {error.reason}") from None


def pack_rows(rows: NDArray[np.float32]) -> bytes:
    """An answer: float32 [n, m]."""
    count, columns = rows.shape
    return ANSWER.pack(_MAGIC, VERSION, _ROWS, columns, count) + rows.astype("<f4", copy=False).tobytes()


def max_answer_bytes(items: int) -> int:
    """How many bytes an answer of ``items`` rows has at most."""
    return ANSWER.size + items * MAX_COLUMNS * 4


def unpack_rows(message: Message, *, items: int) -> NDArray[np.float32]:
    """The float32 [items, m] of an answer, all of them finite; a view of ``message``. Raises ``BadMessage``."""
    if len(message) < ANSWER.size:
        raise BadMessage(f"an answer of {len(message)} bytes has no head")
    magic, version, kind, columns, rows = ANSWER.unpack_from(message)
    _check_form(magic, version, kind, _ROWS)
    if rows != items or not 1 <= columns <= MAX_COLUMNS:
        raise BadMessage(f"an answer of {rows} times {columns} numbers for {items} items")
    if len(message) != ANSWER.size + rows * columns * 4:
        raise BadMessage(f"an answer of {rows} times {columns} numbers has {len(message)} bytes")
    found = np.frombuffer(message, dtype="<f4", offset=ANSWER.size).reshape(rows, columns)
    if not np.isfinite(found).all():
        raise BadMessage("an answer has numbers that are none")
    return found.astype(np.float32, copy=False)


def unpack_members(message: Message) -> dict[str, Any]:
    """The JSON object that ``message`` is. Raises ``BadMessage``."""
    try:
        members = json.loads(bytes(message))
    except (ValueError, RecursionError):
        raise BadMessage("what came is not JSON") from None
    if not isinstance(members, dict):
        raise BadMessage(f"a JSON object is needed, {type(members).__name__} came")
    return members


def _pack_head(kind: int, order: Order, *, items: int, side: int) -> bytes:
    fingerprint = order.fingerprint.encode("ascii", "replace")
    _check_head(items, len(fingerprint), order.seconds)
    lane = _LANES.index(order.lane)
    return REQUEST.pack(_MAGIC, VERSION, kind, lane, len(fingerprint), items, side, order.seconds) + fingerprint


def _unpack_head(wanted: int, message: Message) -> tuple[Order, int, int, memoryview]:
    """What is said of the items, their number, the side of the pixels, and the bytes that follow."""
    if len(message) < REQUEST.size:
        raise BadMessage(f"a request of {len(message)} bytes has no head")
    magic, version, kind, lane, named, items, side, seconds = REQUEST.unpack_from(message)
    _check_form(magic, version, kind, wanted)
    _check_head(items, named, seconds)
    if lane >= len(_LANES):
        raise BadMessage(f"lane {lane} is unknown")
    rest = memoryview(message)[REQUEST.size :]
    fingerprint = bytes(rest[:named])
    if len(fingerprint) != named or not fingerprint.isascii():
        raise BadMessage("the fingerprint is cut off, or not ASCII")
    return Order(_LANES[lane], fingerprint.decode("ascii"), seconds), items, side, rest[named:]


def _check_form(magic: bytes, version: int, kind: int, wanted: int) -> None:
    if magic != _MAGIC:
        raise BadMessage("what came is of another form")
    if version != VERSION:
        raise BadMessage(f"version {version} of the form came, {VERSION} is known here")
    if kind != wanted:
        raise BadMessage(f"a message of kind {kind} came, {wanted} is taken here")


def _check_side(side: int) -> None:
    if not 1 <= side <= MAX_SIDE:
        raise BadMessage(f"pixels have a side of {side}; 1 to {MAX_SIDE} are allowed")


def _check_head(items: int, named: int, seconds: float) -> None:
    if not 1 <= items <= MAX_ITEMS:
        raise BadMessage(f"{items} items; 1 to {MAX_ITEMS} are allowed in one call")
    if not 1 <= named <= MAX_FINGERPRINT:
        raise BadMessage(f"a fingerprint of {named} characters; 1 to {MAX_FINGERPRINT} are allowed")
    if not (math.isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
        raise BadMessage(f"{seconds} seconds; above 0 and up to {MAX_SECONDS:.0f} are allowed")
