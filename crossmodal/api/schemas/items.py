"""The bodies of `/items/*` and `/stats`."""

from crossmodal.api.schemas.base import Answer, ItemAnswer


class PageAnswer(Answer):
    """Some items; ``next_cursor`` is null at the end."""

    items: list[ItemAnswer]
    next_cursor: str | None


class StatsAnswer(Answer):
    """Counts and the state of the parts."""

    model: str
    embedding_dim: int
    images_indexed: int
    texts_indexed: int
    store: str
    device: str
    precision: str
    runtime: str
    fingerprint: str
    version: str
