"""Cursors of ``scroll``: the point where the next page starts, sealed so that only what was given out is taken back."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from uuid import UUID

from crossmodal.errors import ValidationFailed
from crossmodal.records import Modality

_SEAL_BYTES = 5  # with the 16 of a UUID a multiple of 3, so that base64 needs no padding


def encode_cursor(modality: Modality, next_id: str | UUID) -> str:
    """28 url-safe characters for the id of the first point of the next page."""
    start = UUID(str(next_id)).bytes
    return urlsafe_b64encode(start + _seal(modality, start)).decode()


def decode_cursor(modality: Modality, cursor: str) -> str:
    """The id in ``cursor``. Raises ``ValidationFailed`` for anything ``encode_cursor`` did not make for ``modality``."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    start, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    if seal != _seal(modality, start) or urlsafe_b64encode(raw).decode() != cursor:
        raise ValidationFailed(
            f"the cursor is not one that was given out for {modality} items; start again without one", loc=("cursor",)
        )
    return str(UUID(bytes=start))


def _seal(modality: Modality, start: bytes) -> bytes:
    # No secret: it catches mistakes, and there is nothing in a cursor worth forging.
    return blake2b(start, digest_size=_SEAL_BYTES, person=f"cursor {modality}".encode()).digest()
