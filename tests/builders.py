"""Short ways to the records that tests are full of."""

from datetime import UTC, datetime

import numpy as np

from crossmodal.records import Embedding, Item, Metadata, Modality, hash_content

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def item(item_id: str = "a", modality: Modality = Modality.IMAGE, metadata: Metadata | None = None) -> Item:
    text = f"text of {item_id}" if modality is Modality.TEXT else None
    return Item(item_id, modality, hash_content(item_id.encode()), WHEN, metadata or {}, text)


def unit(*values: float) -> Embedding:
    vector = np.array(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)
