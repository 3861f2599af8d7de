"""A Qdrant server's HTTP surface, as far as the store uses it, over the client's in-memory stand-in.

The real client writes and reads the real wire format; only the socket and the engine behind it are replaced. A queue
of faults is answered before any request is, and conditions on chosen fields can be made to be overlooked.
"""

import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from pydantic import BaseModel
from qdrant_client import AsyncQdrantClient, models

Fault = Callable[[httpx.Request], httpx.Response]
Route = Callable[[str, dict[str, Any]], Awaitable[Any]]


class FakeServer:
    """One server; ``connect`` gives clients of it, ``requests`` keeps what came as (method, path).

    ``indexes`` keeps the indexes asked for as (collection, field, schema), ``params`` how was to be searched; conditions on the fields in ``drops`` are
    overlooked, as by an engine with a fault.
    """

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, str]] = []
        self.indexes: list[tuple[str, str, Any]] = []
        self.params: list[models.SearchParams | None] = []
        self.drops: set[str] = set()
        self.update_status = models.UpdateStatus.COMPLETED
        self._engine = AsyncQdrantClient(":memory:")
        self._routes: dict[tuple[str, str], Route] = {
            ("GET", "/exists"): self._exists,
            ("GET", ""): self._get,
            ("PUT", ""): self._create,
            ("PATCH", ""): self._update,
            ("PUT", "/index"): self._index,
            ("PUT", "/points"): self._upsert,
            ("POST", "/points"): self._retrieve,
            ("POST", "/points/delete"): self._delete,
            ("POST", "/points/query"): self._query,
            ("POST", "/points/query/batch"): self._query_batch,
            ("POST", "/points/scroll"): self._scroll,
            ("POST", "/points/count"): self._count,
        }

    def connect(self) -> AsyncQdrantClient:
        transport = httpx.MockTransport(self.answer)
        return AsyncQdrantClient(url="http://qdrant.test:6333", check_compatibility=False, transport=transport)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.method, request.url.path))
        if self.faults:
            return self.faults.popleft()(request)
        name, _, rest = request.url.path.removeprefix("/collections/").partition("/")
        route = self._routes[request.method, f"/{rest}" if rest else ""]
        if request.method == "PUT" and rest == "points":
            assert request.url.params["wait"] == "true"
        try:
            result = await route(name, json.loads(request.content or b"{}"))
        except ValueError as error:
            return httpx.Response(404, json={"status": {"error": str(error)}, "time": 0.0})
        return httpx.Response(200, json={"result": _plain(result), "status": "ok", "time": 0.0})

    async def _exists(self, name: str, _: dict[str, Any]) -> Any:
        return {"exists": await self._engine.collection_exists(name)}

    async def _get(self, name: str, _: dict[str, Any]) -> Any:
        return await self._engine.get_collection(name)

    async def _create(self, name: str, body: dict[str, Any]) -> Any:
        vectors = models.VectorParams(**body["vectors"])
        return await self._engine.create_collection(name, vectors, metadata=body["metadata"])

    async def _update(self, name: str, body: dict[str, Any]) -> Any:
        return await self._engine.update_collection(name, metadata=body["metadata"])

    async def _index(self, name: str, body: dict[str, Any]) -> Any:
        self.indexes.append((name, body["field_name"], body["field_schema"]))
        return await self._engine.create_payload_index(name, body["field_name"], body["field_schema"])

    async def _upsert(self, name: str, body: dict[str, Any]) -> Any:
        await self._engine.upsert(name, [models.PointStruct(**entry) for entry in body["points"]])
        return models.UpdateResult(operation_id=1, status=self.update_status)

    async def _retrieve(self, name: str, body: dict[str, Any]) -> Any:
        asked = models.PointRequest(**body)
        return await self._engine.retrieve(
            name, asked.ids, with_payload=asked.with_payload or True, with_vectors=asked.with_vector or False
        )

    async def _delete(self, name: str, body: dict[str, Any]) -> Any:
        await self._engine.delete(name, models.PointIdsList(**body))
        return models.UpdateResult(operation_id=1, status=self.update_status)

    async def _query(self, name: str, body: dict[str, Any]) -> Any:
        asked = models.QueryRequest(**body)
        self.params.append(asked.params)
        return await self._engine.query_points(
            name,
            query=body["query"]["nearest"],
            limit=asked.limit or 10,
            query_filter=self._seen(asked.filter),
            with_payload=asked.with_payload or True,
            with_vectors=asked.with_vector or False,
        )

    async def _query_batch(self, name: str, body: dict[str, Any]) -> Any:
        asked = [models.QueryRequest(**each) for each in body["searches"]]
        self.params += [each.params for each in asked]
        for each in asked:
            each.filter = self._seen(each.filter)
        return await self._engine.query_batch_points(name, asked)

    async def _scroll(self, name: str, body: dict[str, Any]) -> Any:
        asked = models.ScrollRequest(**body)
        records, following = await self._engine.scroll(
            name,
            self._seen(asked.filter),
            limit=asked.limit or 10,
            offset=asked.offset,
            with_payload=asked.with_payload or True,
            with_vectors=asked.with_vector or False,
        )
        return {"points": records, "next_page_offset": following}

    async def _count(self, name: str, body: dict[str, Any]) -> Any:
        return await self._engine.count(name, self._seen(models.CountRequest(**body).filter), exact=True)

    def _seen(self, asked: models.Filter | None) -> models.Filter | None:
        if asked is None or not isinstance(asked.must, list):
            return asked
        kept = [each for each in asked.must if getattr(each, "key", None) not in self.drops]
        return asked.model_copy(update={"must": kept})


def _plain(result: Any) -> Any:
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list):
        return [_plain(entry) for entry in result]
    if isinstance(result, dict):
        return {key: _plain(value) for key, value in result.items()}
    return result
