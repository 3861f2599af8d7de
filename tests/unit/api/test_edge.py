import asyncio
import json

import httpx
import pytest
from starlette.types import Message

from crossmodal.api import EdgeMiddleware, Traffic, TrafficLimits, create_app
from crossmodal.wiring import Container
from tests.fakes import ColourModel
from tests.metrics import shedding
from tests.unit.api.conftest import MAX_BODY
from tests.unit.api.helpers import index_colours, picture, problem, upload


async def test_a_given_request_id_comes_back_and_a_bad_one_is_replaced(client: httpx.AsyncClient) -> None:
    given = await client.get("/stats", headers={"X-Request-ID": "abc-123"})
    assert given.headers["x-request-id"] == "abc-123"
    for bad in ("x" * 129, "two words", ""):
        made = (await client.get("/stats", headers={"X-Request-ID": bad})).headers["x-request-id"]
        assert len(made) == 32


async def test_server_timing_names_the_stages(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    answer = await client.post("/search/similar-images", files=upload(picture("red"), field="file"))
    names = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert names == ["decode", "queue", "embed", "store"]
    assert "server-timing" not in (await client.get("/docs.json")).headers


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for url in ("/stats", "/nowhere", "/ui/"):
        headers = (await client.get(url)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'self'")


async def test_a_declared_length_over_the_limit_is_refused_unread(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/images", files=upload(b"x" * (MAX_BODY + 1)))
    assert str(MAX_BODY) in problem(answer, 413, "payload_too_large")["detail"]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
async def test_an_undeclared_length_is_refused_once_over_the_limit(container: Container, kind: str) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n' if "multi" in kind else b'"'
    read = 0
    read_when_answered: list[int] = []

    async def receive() -> Message:
        nonlocal read
        piece = b"x" * 10_000 if read else head
        read += len(piece)
        return {"type": "http.request", "body": piece, "more_body": True}

    answer: list[Message] = []

    async def send(message: Message) -> None:
        read_when_answered.append(read)
        answer.append(dict(message))

    app = create_app()
    app.state.container = container
    edge = EdgeMiddleware(app, traffic=Traffic(TrafficLimits(body=MAX_BODY)))
    headers = [(b"content-type", kind.encode()), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/index/images", "query_string": b"", "headers": headers}
    await edge(scope, receive, send)
    start, body, end = answer
    assert (start["status"], json.loads(body["body"])["code"]) == (413, "payload_too_large")
    assert (b"connection", b"close") in start["headers"]
    # The whole problem is out before more is read; what follows is read and dropped, so that the sender can read it.
    assert read_when_answered[1] <= MAX_BODY + 64 * 1024
    assert (body["more_body"], end["more_body"]) == (True, False)
    assert read <= 6 * MAX_BODY + 64 * 1024


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data; boundary=b"]
)
async def test_a_body_of_another_type_is_415(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/search/text-to-image", content=b'{"query": "x"}', headers={"content-type": kind})
    assert "application/json" in problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"query": "x"', b"\xff\xfe", b"nonsense", b"[" * 100_000])
async def test_a_body_that_is_not_json_is_400(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/search/text-to-image", content=content, headers={"content-type": "application/json"})
    problem(answer, 400, "malformed_body")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"--b\r\nbroken", b"--b\r\n\r\n--b--"])
async def test_a_multipart_body_that_is_none_is_400_or_lacks_its_file(
    client: httpx.AsyncClient, content: bytes
) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = await client.post("/search/similar-images", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) in {(400, "malformed_body"), (422, "validation_failed")}


@pytest.mark.parametrize("kept", [0.4, 0.9, 0.995])
async def test_a_multipart_body_that_was_cut_off_is_400(client: httpx.AsyncClient, kept: float) -> None:
    request = client.build_request("POST", "/index/images", files=upload(picture("red"), picture("blue")))
    whole = request.read()
    headers = {"content-type": request.headers["content-type"]}
    answer = await client.post("/index/images", content=whole[: int(len(whole) * kept)], headers=headers)
    assert "malformed_body" in problem(answer, 400, "malformed_body")["type"]
    assert (await client.get("/stats")).json()["images_indexed"] == 0
    with_epilogue = await client.post("/index/images", content=whole + b"\r\nan epilogue\r\n", headers=headers)
    assert with_epilogue.json()["indexed"] == 2


async def test_a_multipart_body_without_boundary_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/images", content=b"x", headers={"content-type": "multipart/form-data"})
    problem(answer, 400, "malformed_body")


async def test_the_wrong_method_is_405_and_says_which_is_right(client: httpx.AsyncClient) -> None:
    answer = await client.get("/search/text-to-image")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    for method, path, allowed in [
        ("PUT", "/items/image/x", "DELETE, GET, HEAD"),
        ("POST", "/items/image", "GET, HEAD"),
        ("POST", "/stats", "GET, HEAD"),
        ("POST", "/ui/", "GET, HEAD"),
    ]:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_an_unforeseen_error_is_500_and_says_nothing_of_the_inside(
    client: httpx.AsyncClient, model: ColourModel
) -> None:
    model.broken = True
    answer = await client.post("/search/text-to-image", json={"query": "red"})
    body = problem(answer, 500, "internal_error")
    assert "/srv/model" not in answer.text
    assert body["detail"] == "something went wrong here; the log has it under this request_id"
    model.broken = False
    assert (await client.post("/search/text-to-image", json={"query": "red"})).status_code == 200


async def test_a_full_queue_is_429_with_retry_after(client: httpx.AsyncClient, model: ColourModel) -> None:
    model.release.clear()
    first = asyncio.create_task(client.post("/embed/texts", json={"texts": ["a"]}))
    await asyncio.to_thread(model.started.wait, 5)
    second = asyncio.create_task(client.post("/embed/texts", json={"texts": ["b"] * 60}))
    while model.release.is_set() is False and not second.done():
        await asyncio.sleep(0.01)
        with shedding(model=1):
            answer = await client.post("/embed/texts", json={"texts": ["c"] * 60})
        break
    problem(answer, 429, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    model.release.set()
    assert [(await each).status_code for each in (first, second)] == [200, 200]


async def test_before_it_is_open_every_route_is_503(container: Container) -> None:
    app = create_app()
    transport = httpx.ASGITransport(EdgeMiddleware(app, traffic=Traffic(TrafficLimits(body=MAX_BODY))))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/stats")
        problem(answer, 503, "model_unavailable")
        assert answer.headers["retry-after"]
        app.state.container = container
        assert (await client.get("/stats")).status_code == 200


async def test_the_document_describes_every_route(client: httpx.AsyncClient) -> None:
    document = (await client.get("/docs.json")).json()
    assert set(document["paths"]) == {
        "/index/images",
        "/index/texts",
        "/search",
        "/recommend",
        "/classify",
        "/moderate",
        "/describe",
        "/duplicates",
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/{model_id}",
        "/search/text-to-image",
        "/search/image-to-text",
        "/search/similar-images",
        "/search/similar-texts",
        "/similarity",
        "/embed/texts",
        "/embed/images",
        "/items/{modality}",
        "/items/{modality}/{item_id}",
        "/images/{item_id}",
        "/images/{item_id}/thumbnail",
        "/stats",
    }
    body = document["paths"]["/search/similar-images"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert set(body["multipart/form-data"]["schema"]["properties"]) == {
        "file",
        "n_results",
        "offset",
        "filter",
        "min_relevance",
        "diversity",
        "exact",
    }
    references = set(_references(document))
    assert references
    parts = document["components"]
    assert references <= {f"#/components/{kind}/{name}" for kind in parts for name in parts[kind]}
    assert "x-component" not in json.dumps(document)
    assert {"get", "head"} <= set(document["paths"]["/stats"])
    statuses = set(document["paths"]["/stats"]["get"]["responses"])
    assert statuses == {"200", "400", "401", "403", "413", "422", "429", "500", "503", "504"}


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for value in node.values() for each in _references(value)]
    if isinstance(node, list):
        return [each for value in node for each in _references(value)]
    return []


async def test_the_page_is_served(client: httpx.AsyncClient) -> None:
    for url in ("/", "/ui"):
        answer = await client.get(url)
        assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")
    page = await client.get("/ui/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<title>" in page.text
