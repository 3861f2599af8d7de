"""What the store needs of the Qdrant client beside its calls: a connection, and conditions in its words."""

from typing import Any
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient, models

from crossmodal.errors import ConfigurationError
from crossmodal.store.filters import Range

TIMEOUT_S = 10
"""The longest one attempt may take, whole seconds."""


class QdrantDialect:
    """Conditions as the client writes them. See ``conditions.Dialect``."""

    def keyword(self, path: str, values: list[str]) -> models.Condition:
        """See ``Dialect.keyword``."""
        match = models.MatchValue(value=values[0]) if len(values) == 1 else models.MatchAny(any=values)
        return models.FieldCondition(key=path, match=match)

    def number(self, path: str, bounds: Range) -> models.Condition:
        """See ``Dialect.number``."""
        within = models.Range(gt=bounds.gt, gte=bounds.gte, lt=bounds.lt, lte=bounds.lte)
        return models.FieldCondition(key=path, range=within)

    def join(
        self,
        *,
        must: list[models.Condition] | None = None,
        should: list[models.Condition] | None = None,
        must_not: list[models.Condition] | None = None,
    ) -> models.Condition:
        """See ``Dialect.join``."""
        return models.Filter(must=must, should=should, must_not=must_not)


def parse_url(url: str) -> dict[str, Any]:
    """What ``connect`` needs for ``url``. Raises ``ConfigurationError`` for one that names no Qdrant server."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError("CROSSMODAL_STORE is not a URL") from error
    if parts.username or parts.password:
        raise ConfigurationError("CROSSMODAL_STORE holds a name or a key; set CROSSMODAL_STORE_API_KEY instead")
    if parts.scheme not in {"http", "https", "grpc", "grpcs"} or not host:
        raise ConfigurationError("a Qdrant server is written http://HOST:6333, https://, grpc://HOST:6334 or grpcs://")
    if parts.scheme in {"http", "https"}:
        return {"url": url}
    return {"host": host, "grpc_port": port or 6334, "prefer_grpc": True, "https": parts.scheme == "grpcs"}


def connect(**options: Any) -> AsyncQdrantClient:
    """A client of the server; it opens its connections with the first call."""
    # The compatibility check asks from a thread of its own, over HTTP even where gRPC alone is open.
    return AsyncQdrantClient(timeout=TIMEOUT_S, check_compatibility=False, **options)
