"""Cursors of ``scroll``: the point where the next page starts, sealed for its partition, so that no other takes it."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from uuid import UUID

from crossmodal.errors import ValidationFailed
from crossmodal.records import Partition
from crossmodal.store.payload import namespace

_SEAL_BYTES = 5  # with the 16 of a UUID a multiple of 3, so that base64 needs no padding


def encode_cursor(partition: Partition, next_id: str | UUID) -> str:
    """28 url-safe characters for the id of the first point of the next page."""
    start = UUID(str(next_id)).bytes
    return urlsafe_b64encode(start + _seal(partition, start)).decode()


def decode_cursor(partition: Partition, cursor: str) -> str:
    """The id in ``cursor``. Raises ``ValidationFailed`` for anything ``encode_cursor`` did not make for ``partition``.

    The refusal is the same for another tenant's cursor as for garbage.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    start, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    if seal != _seal(partition, start) or urlsafe_b64encode(raw).decode() != cursor:
        raise ValidationFailed(
            f"the cursor is not one that was given out for {partition.modality} items; start again without one",
            loc=("cursor",),
        )
    return str(UUID(bytes=start))


def _seal(partition: Partition, start: bytes) -> bytes:
    # No secret: it catches mistakes. A forged cursor says where to start among the forger's own items, nothing else.
    owner, purpose = namespace(partition.tenant).bytes, f"cursor {partition.modality}".encode()
    return blake2b(start, digest_size=_SEAL_BYTES, key=owner, person=purpose).digest()
