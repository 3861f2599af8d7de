"""The collections of a Qdrant server as this service makes them, and its note with each: which model filled it."""

from collections.abc import Sequence
from functools import partial

from qdrant_client import AsyncQdrantClient, models

from crossmodal.errors import ConfigurationError, ServerError
from crossmodal.records import Point, Statistics
from crossmodal.statistics import pack_statistics, unpack_statistics
from crossmodal.store import payload
from crossmodal.store.base import CollectionSpec
from crossmodal.store.fingerprint import note_of, require_layout, require_same, spec_of
from crossmodal.store.qdrant_faults import call

_ELSEWHERE = "index into another server or folder by setting CROSSMODAL_STORE or DATA"
_STATISTICS = "statistics"


async def prepare(client: AsyncQdrantClient, name: str, spec: CollectionSpec) -> payload.NumberIndexes:
    """Make or check one collection; returns the numbers it has an index of. Raises as ``VectorStore.open``."""
    if not await call(partial(client.collection_exists, name)):
        await _create(client, name, spec)
    info = await call(partial(client.get_collection, name))
    require_same(_stored_spec(info), spec, elsewhere=_ELSEWHERE)
    for field in payload.KEYWORD_FIELDS:
        if field not in info.payload_schema:
            await call(partial(client.create_payload_index, name, field, _keyword_index(field), wait=True))
    return payload.NumberIndexes(info.payload_schema)


async def _create(client: AsyncQdrantClient, name: str, spec: CollectionSpec) -> None:
    vectors = models.VectorParams(size=spec.dim, distance=models.Distance.COSINE)
    note = {"layout": payload.LAYOUT, **note_of(spec)}
    try:
        await call(partial(client.create_collection, name, vectors, metadata=note))
    except ServerError:
        # Another process, or an attempt whose answer was lost, may have made it.
        if not await call(partial(client.collection_exists, name)):
            raise


def statistics_note(statistics: Statistics) -> dict[str, object]:
    """The member of a collection's note that ``stored_statistics`` reads."""
    return {_STATISTICS: pack_statistics(statistics)}


def stored_statistics(info: models.CollectionInfo) -> Statistics:
    """The statistics in a collection's note, none where there are none. Raises ``ConfigurationError`` for others' notes."""
    members = (info.config.metadata or {}).get(_STATISTICS, {})
    return unpack_statistics(members, where="the note of a collection on the Qdrant server")


async def index_numbers(
    client: AsyncQdrantClient, name: str, indexes: payload.NumberIndexes, points: Sequence[Point]
) -> None:
    """Have the fields of ``points`` that hold numbers indexed, and note it in ``indexes``."""
    for field in indexes.missing([point.item for point in points]):
        path, kind = payload.number_path(field), models.PayloadSchemaType.FLOAT
        await call(partial(client.create_payload_index, name, path, kind, wait=False))
        indexes.add(field)


def _keyword_index(field: str) -> models.KeywordIndexParams:
    # ``is_tenant`` has a server keep each tenant's vectors side by side.
    return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=field == payload.TENANT or None)


def _stored_spec(info: models.CollectionInfo) -> CollectionSpec:
    note = info.config.metadata or {}
    spec = spec_of(note)
    if spec is None:
        raise ConfigurationError(
            "a collection of this name exists on the Qdrant server, but not with this service's note of its model: "
            "it is another program's, or the server is older than 1.16"
        )
    require_layout(note.get("layout"), elsewhere=_ELSEWHERE)
    return spec
