"""What is refused of a body before any use case sees it, and in which words."""

import httpx
import pytest

from tests.unit.api.helpers import index_colours, picture, problem, upload

FILE = upload(picture("red"), field="file")


async def test_a_field_that_is_not_utf_8_is_refused_not_guessed(client: httpx.AsyncClient) -> None:
    request = client.build_request("POST", "/similarity", files=FILE, data={"text": "straSSe"})
    body = request.read().replace(b"straSSe", "straße".encode("latin-1"))
    headers = {"content-type": request.headers["content-type"]}
    answer = await client.post("/similarity", content=body, headers=headers)
    assert "'text' is not text in UTF-8" in problem(answer, 400, "malformed_body")["detail"]
    assert (await client.post("/similarity", files=FILE, data={"text": "straße"})).status_code == 200


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "undefined", "no-such"])
async def test_another_charset_is_415(client: httpx.AsyncClient, charset: str) -> None:
    request = client.build_request("POST", "/similarity", files=FILE, data={"text": "red"})
    headers = {"content-type": f"{request.headers['content-type']}; charset={charset}"}
    answer = await client.post("/similarity", content=request.read(), headers=headers)
    assert "UTF-8" in problem(answer, 415, "unsupported_media_type")["detail"]
    headers = {"content-type": f"{request.headers['content-type']}; charset=UTF-8"}
    assert (await client.post("/similarity", content=request.read(), headers=headers)).status_code == 200


async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    body = {"query": "red"}
    answer = await client.post("/search/text-to-image", json=body, headers={"content-encoding": "gzip"})
    assert "uncompressed" in problem(answer, 415, "unsupported_media_type")["detail"]
    fine = await client.post("/search/text-to-image", json=body, headers={"content-encoding": "Identity"})
    assert fine.status_code == 200


async def test_a_file_where_none_is_taken_is_refused(client: httpx.AsyncClient) -> None:
    for name in ("n_results", "mask"):
        files = FILE + upload(b"3", field=name)
        answer = await client.post("/search/similar-images", files=files)
        assert problem(answer, 422, "validation_failed")["errors"][0]["loc"] == [name]


@pytest.mark.parametrize(
    ("member", "word"), [("min_relevance", b"NaN"), ("diversity", b"NaN"), ("diversity", b"1e999")]
)
async def test_a_number_that_is_none_is_said_to_be_not_finite(
    client: httpx.AsyncClient, member: str, word: bytes
) -> None:
    body = b'{"query": "a", "' + member.encode() + b'": ' + word + b"}"
    answer = await client.post("/search/text-to-image", content=body, headers={"content-type": "application/json"})
    (fault,) = problem(answer, 422, "validation_failed")["errors"]
    assert (fault["loc"], fault["msg"]) == ([member], "a finite number is needed")


async def test_messages_speak_of_objects_not_of_classes(client: httpx.AsyncClient) -> None:
    for item, said in [
        (5, "item: an object is needed; 5 came"),
        ({"text": "a", "metadata": "x"}, "metadata: an object is needed; 'x' came"),
    ]:
        answer = await client.post("/index/texts", json={"items": [item]})
        assert problem(answer, 422, "validation_failed")["results"][0]["error"]["detail"] == said
    form = await client.post("/search/similar-images", files=FILE, data={"filter": "[]"})
    assert problem(form, 422, "validation_failed")["detail"] == "filter: an object is needed; a list came"


async def test_head_is_answered_where_get_is(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    for route in ("/stats", "/items/image", "/items/image/red", "/images/red", "/docs.json"):
        head, get = await client.head(route), await client.get(route)
        assert (head.status_code, head.headers["content-type"]) == (200, get.headers["content-type"])
    assert (await client.head("/items/image/nobody")).status_code == 404
    assert (await client.head("/search/text-to-image")).status_code == 405
    refused = problem(await client.get("/search/text-to-image"), 405, "method_not_allowed")
    assert refused["detail"] == "GET came; this path takes POST"


async def test_a_whole_number_may_be_written_with_a_fraction_of_zero(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    answer = await client.post("/search/text-to-image", json={"query": "red", "n_results": 2.0, "offset": 1.0})
    assert len(answer.json()["results"]) == 2
    problem(await client.post("/search/text-to-image", json={"query": "a", "n_results": 1.5}), 422, "validation_failed")
