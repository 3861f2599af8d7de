"""The bytes between the service and a decoding process: lengths in front, nothing that could run when it is read.

The answer comes from a process that handled a stranger's bytes, so it is not trusted: its lengths are checked, and its
errors are taken from a list.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from struct import Struct

import numpy as np

from crossmodal.errors import ClientError, ImageTooLarge, ImageUndecodable, PayloadTooLarge, UnsupportedMediaType
from crossmodal.imaging.prepare import Prepared
from crossmodal.imaging.signature import SIGNATURE_BYTES
from crossmodal.records import Preprocessing

READY = b"\1"
"""What a decoding process says first."""

ORDER = Struct("<II?")
"""Bytes of the preprocessing in JSON, bytes of the encoded picture, whether what is kept is wanted: a thumbnail and a signature."""

ANSWER = Struct("<BIIIII")
"""Outcome, width, height, bytes of the first, the second and the third part."""

_PREPARED, _REFUSED, _BROKEN = range(3)
_PREPROCESSINGS = 8
"""Kept on both sides: nearly always there is one, of the model."""
_MAX_THUMBNAIL = 2**20
_MAX_TEXT = 10_000
_ERRORS = {kind.__name__: kind for kind in (PayloadTooLarge, UnsupportedMediaType, ImageUndecodable, ImageTooLarge)}


Part = bytes | memoryview
"""Some bytes of a message."""


class BadAnswer(Exception):
    """A decoding process failed by itself or did not keep to the form; says why."""


def write_some(descriptor: int, parts: Sequence[Part]) -> list[memoryview]:
    """Write ``parts`` in one call, so that whoever reads wakes up once; what is left of them. Raises OSError."""
    views = [memoryview(part) for part in parts]
    written = os.writev(descriptor, views)
    left = []
    for view in views:
        rest = view[written:]
        written = max(0, written - len(view))
        if rest:
            left.append(rest)
    return left


def pack_order(content: bytes, preprocessing: Preprocessing, *, thumbnail: bool) -> bytes:
    """What goes before the encoded picture."""
    wanted = _pack_preprocessing(preprocessing)
    return ORDER.pack(len(wanted), len(content), thumbnail) + wanted


@lru_cache(maxsize=_PREPROCESSINGS)
def _pack_preprocessing(preprocessing: Preprocessing) -> bytes:
    return json.dumps(asdict(preprocessing)).encode()


@lru_cache(maxsize=_PREPROCESSINGS)
def unpack_preprocessing(wanted: bytes) -> Preprocessing:
    """The opposite of what ``pack_order`` does to the preprocessing."""
    told = json.loads(wanted)
    return Preprocessing(**told | {"mean": tuple(told["mean"]), "std": tuple(told["std"])})  # JSON has lists


def pack_prepared(prepared: Prepared) -> tuple[bytes, ...]:
    """The answer's head and its parts: pixels, thumbnail and signature."""
    pixels = prepared.pixels.tobytes()
    parts = (pixels, prepared.thumbnail, prepared.signature)
    return ANSWER.pack(_PREPARED, prepared.width, prepared.height, *map(len, parts)), *parts


def pack_refused(error: ClientError) -> tuple[bytes, ...]:
    """The answer to a picture that is at fault: the error's name and its sentence."""
    return _pack_texts(_REFUSED, type(error).__name__, error.detail)


def pack_broken(trace: str) -> tuple[bytes, ...]:
    """The answer when the fault is the program's."""
    return _pack_texts(_BROKEN, "", trace[-_MAX_TEXT // 4 :])


def _pack_texts(outcome: int, first: str, second: str) -> tuple[bytes, ...]:
    name, text = first.encode(), second.encode()
    return ANSWER.pack(outcome, 0, 0, len(name), len(text), 0), name, text


def unpack_answer(head: bytes, size: int, receive: Callable[[int], bytearray]) -> Prepared:
    """Read the parts that ``head`` announces with ``receive`` and make of them what the process meant.

    ``size`` is the side of the pixels asked for. Raises the error of a picture at fault, BadAnswer.
    """
    outcome, width, height, first, second, third = ANSWER.unpack(head)
    if outcome == _PREPARED:
        if first != size * size * 3 or second > _MAX_THUMBNAIL or third not in {0, SIGNATURE_BYTES}:
            raise BadAnswer(f"{first} bytes of pixels, {second} of a thumbnail and {third} of a signature")
        pixels = np.frombuffer(receive(first), dtype=np.uint8).reshape(size, size, 3)
        return Prepared(width, height, pixels, bytes(receive(second)), bytes(receive(third)))
    if third or first + second > _MAX_TEXT:
        raise BadAnswer(f"{first + second + third} bytes of text")
    name, text = (receive(count).decode(errors="replace") for count in (first, second))
    if outcome == _REFUSED and name in _ERRORS:
        raise _ERRORS[name](text)
    raise BadAnswer(text or "no reason given")
