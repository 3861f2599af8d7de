import asyncio
import json
from hashlib import sha256

import httpx
import pytest

from crossmodal.api.schemas.index import IndexAnswer
from crossmodal.settings import Settings
from tests.fakes import ColourModel
from tests.unit.api.helpers import data_url, ids, picture, places, problem, upload

RED, BLUE = picture("red"), picture("blue")


async def test_uploads_get_the_hash_of_their_bytes_as_id(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/images", files=upload(RED, BLUE))
    body = IndexAnswer.model_validate(answer.json())
    assert (body.indexed, body.unchanged, body.failed) == (2, 0, 0)
    assert [each.id for each in body.results] == [sha256(RED).hexdigest(), sha256(BLUE).hexdigest()]
    assert answer.json()["results"][0] == {"id": sha256(RED).hexdigest(), "status": "indexed"}


async def test_the_same_bytes_again_change_nothing(client: httpx.AsyncClient, model: ColourModel) -> None:
    first = {"files": upload(RED), "data": {"metadata": json.dumps([{"name": "one"}])}}
    await client.post("/index/images", **first)  # type: ignore[arg-type]
    before = (await client.get(f"/items/image/{sha256(RED).hexdigest()}")).json()
    batches = len(model.batches)
    answer = await client.post("/index/images", files=[("files", ("another name.gif", RED, "image/gif"))])
    assert answer.json() == {
        "indexed": 0,
        "unchanged": 1,
        "failed": 0,
        "results": [{"id": sha256(RED).hexdigest(), "status": "unchanged"}],
    }
    assert (await client.get(f"/items/image/{sha256(RED).hexdigest()}")).json() == before
    assert len(model.batches) == batches, "the model ran for a picture that was there already"


async def test_new_metadata_for_the_same_bytes_are_taken_without_the_model(
    client: httpx.AsyncClient, model: ColourModel
) -> None:
    await client.post("/index/images", files=upload(RED), data={"metadata": '[{"v": 1}]'})
    before = (await client.get("/items/image")).json()["items"][0]
    batches = len(model.batches)
    answer = await client.post("/index/images", files=upload(RED), data={"metadata": '[{"v": 2}]'})
    assert answer.json()["results"][0]["status"] == "indexed"
    after = (await client.get("/items/image")).json()["items"][0]
    assert after == before | {"metadata": {"v": 2}}
    assert len(model.batches) == batches
    assert ids(await client.post("/search/text-to-image", json={"query": "red"})) == [sha256(RED).hexdigest()]


async def test_other_bytes_under_a_given_id_replace_it_and_its_file(client: httpx.AsyncClient) -> None:
    for content in (RED, BLUE):
        answer = await client.post("/index/images", files=upload(content), data={"ids": '["mine"]'})
        assert answer.json()["results"] == [{"id": "mine", "status": "indexed"}]
    assert (await client.get("/stats")).json()["images_indexed"] == 1
    assert (await client.get("/images/mine")).content == BLUE
    hits = (await client.post("/search/text-to-image", json={"query": "blue"})).json()["results"]
    assert hits[0]["score"] > 0.99


async def test_bad_items_fail_alone_and_say_why(client: httpx.AsyncClient) -> None:
    files = upload(RED, b"not a picture", BLUE, RED[: len(RED) // 2])
    answer = await client.post("/index/images", files=files)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["indexed"], body["failed"]) == (2, 2)
    assert [each["status"] for each in body["results"]] == ["indexed", "failed", "indexed", "failed"]
    assert {each["error"]["code"] for each in body["results"] if "error" in each} == {"image_undecodable"}


async def test_all_bad_is_a_problem_with_the_same_list(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/images", files=upload(b"x", b"y"), data={"ids": '["a", null]'})
    body = problem(answer, 422, "image_undecodable")
    assert places(body) == [["files", 0], ["files", 1]]
    assert (body["indexed"], body["unchanged"], body["failed"]) == (0, 0, 2)
    assert [each["id"] for each in body["results"]] == ["a", sha256(b"y").hexdigest()]


async def test_json_items_are_checked_one_by_one(client: httpx.AsyncClient) -> None:
    items = [
        {"image": data_url(RED), "id": "good", "metadata": {"tags": ["a", "b"], "n": 1.5, "none": None}},
        {"picture": data_url(RED)},
        "just a string",
        {"image": "%%%"},
        {"image": data_url(BLUE), "metadata": {"nested": {"no": 1}}},
        {"image": data_url(BLUE), "id": ".."},
        {"image": "http://127.0.0.1/x.png"},
        {"image": data_url(BLUE), "id": 7},
    ]
    body = (await client.post("/index/images", json={"items": items})).json()
    assert [each["status"] for each in body["results"]] == ["indexed"] + ["failed"] * 7
    assert {each["error"]["code"] for each in body["results"][1:]} == {"validation_failed"}
    assert body["results"][1]["error"]["detail"].startswith("image: it is needed and did not come")
    stored = (await client.get("/items/image/good")).json()
    assert stored["metadata"] == {"tags": ["a", "b"], "n": 1.5, "none": None}


async def test_the_same_picture_twice_in_a_request_is_indexed_once(
    client: httpx.AsyncClient, model: ColourModel
) -> None:
    body = (await client.post("/index/images", files=upload(RED, RED))).json()
    assert [each["status"] for each in body["results"]] == ["indexed", "unchanged"]
    assert model.batches == [1]


async def test_an_id_twice_with_other_content_is_a_conflict(client: httpx.AsyncClient) -> None:
    body = (await client.post("/index/images", files=upload(RED, BLUE), data={"ids": '["a", "a"]'})).json()
    assert [each["status"] for each in body["results"]] == ["indexed", "failed"]
    assert body["results"][1]["error"]["code"] == "conflict"
    assert (await client.get("/images/a")).content == RED


async def test_a_duplicate_of_a_bad_item_is_bad_too(client: httpx.AsyncClient) -> None:
    body = (await client.post("/index/images", files=upload(b"x", b"x", RED))).json()
    assert [each["status"] for each in body["results"]] == ["failed", "failed", "indexed"]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"metadata": "[{}]"}, "metadata"),
        ({"metadata": "{}"}, "metadata"),
        ({"metadata": "[{},"}, "metadata"),
        ({"ids": '["only one"]'}, "ids"),
        ({"unknown": "1"}, "unknown"),
    ],
)
async def test_form_fields_that_do_not_fit_the_files_fail_the_request(
    client: httpx.AsyncClient, data: dict[str, str], place: str
) -> None:
    answer = await client.post("/index/images", files=upload(RED, BLUE), data=data)
    assert places(problem(answer, 422, "validation_failed")) == [[place]]
    assert (await client.get("/stats")).json()["images_indexed"] == 0


async def test_more_than_a_hundred_files_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/images", files=upload(*[b"x"] * 101))
    assert problem(answer, 422, "validation_failed")["detail"].startswith("101 files came; 1 to 100")


async def test_texts_as_strings_and_objects(client: httpx.AsyncClient) -> None:
    items = [
        "a red thing",
        {"text": "a blue thing", "id": "b", "metadata": {"k": True}},
        "a red thing",
        "",
        5,
        {"id": "x"},
    ]
    body = (await client.post("/index/texts", json={"items": items})).json()
    assert [each["status"] for each in body["results"]] == [
        "indexed",
        "indexed",
        "unchanged",
        "failed",
        "failed",
        "failed",
    ]
    assert body["results"][0]["id"] == sha256(b"a red thing").hexdigest()
    assert body["results"][5] == {
        "id": "x",
        "status": "failed",
        "error": {"code": "validation_failed", "detail": "text: it is needed and did not come"},
    }
    stored = (await client.get("/items/text/b")).json()
    assert (stored["text"], stored["metadata"], stored["modality"]) == ("a blue thing", {"k": True}, "text")
    assert "uri" not in stored


LONG = "red " * 12 + "blue " * 24


async def test_indexing_says_what_was_read_of_each_text(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/texts", json={"items": [{"text": "red", "id": "a"}, {"text": LONG, "id": "b"}]})
    IndexAnswer.model_validate(answer.json())
    assert answer.json()["results"] == [
        {"id": "a", "status": "indexed", "tokens_used": 1, "truncated": False},
        {"id": "b", "status": "indexed", "tokens_used": 12, "truncated": True},
    ]
    again = await client.post("/index/texts", json={"items": [{"text": "red", "id": "a"}]})
    assert again.json()["results"] == [{"id": "a", "status": "unchanged"}]


async def test_a_text_is_embedded_anew_when_it_is_to_be_read_the_other_way(
    client: httpx.AsyncClient, model: ColourModel
) -> None:
    async def put(**options: str) -> list[object]:
        answer = await client.post("/index/texts", json={"items": [{"text": LONG, "id": "x"}]} | options)
        (result,) = answer.json()["results"]
        return [result["status"], result.get("truncated"), result.get("tokens_used")]

    async def score(query: str) -> float:
        answer = await client.post("/search/similar-texts", json={"query": query})
        found: float = answer.json()["results"][0]["score"]
        return found

    assert await put() == ["indexed", True, 12]
    assert await score("red") > 0.99
    created = (await client.get("/items/text/x")).json()["created_at"]
    batches = len(model.batches)
    assert await put(long_text="truncate") == ["unchanged", None, None]
    assert len(model.batches) == batches
    assert await put(long_text="split") == ["indexed", False, 36]
    assert await score("blue") > 0.85 > await score("red")
    assert (await client.get("/items/text/x")).json()["created_at"] == created
    batches = len(model.batches)
    assert await put(long_text="split") == ["unchanged", None, None]
    assert await put() == ["unchanged", None, None], "what is not asked for does not change"
    assert len(model.batches) == batches
    assert await put(long_text="truncate") == ["indexed", True, 12]
    assert await score("red") > 0.99


async def test_long_and_broken_texts_fail_alone(client: httpx.AsyncClient) -> None:
    raw = b'{"items": ["fine", "' + b"x" * 501 + b'", "\\ud800"]}'
    answer = await client.post("/index/texts", content=raw, headers={"content-type": "application/json"})
    if answer.status_code == 400:  # a JSON reader may refuse half a surrogate pair outright
        problem(answer, 400, "malformed_body")
        return
    codes = [each.get("error", {}).get("code") for each in answer.json()["results"]]
    assert codes == [None, "text_too_long", "validation_failed"]


@pytest.mark.parametrize(
    "body", [{"items": []}, {"items": ["x"] * 1001}, {}, {"items": "x"}, {"items": ["a"], "more": 1}]
)
async def test_bodies_out_of_shape(client: httpx.AsyncClient, body: object) -> None:
    problem(await client.post("/index/texts", json=body), 422, "validation_failed")


async def test_an_id_that_is_no_text_fails_alone(client: httpx.AsyncClient) -> None:
    answer = await client.post("/index/images", files=upload(RED, BLUE), data={"ids": '["fine", "\\ud800"]'})
    body = answer.json()
    assert [each["status"] for each in body["results"]] == ["indexed", "failed"]
    assert body["results"][1]["id"] is None
    assert body["results"][1]["error"]["code"] == "validation_failed"
    alone = await client.post("/index/images", files=upload(BLUE), data={"ids": '["\\ud800"]'})
    problem(alone, 422, "validation_failed")


async def test_formats_that_are_not_read_are_422_when_nothing_else_came(client: httpx.AsyncClient) -> None:
    body = problem(await client.post("/index/images", files=upload(b"%PDF-1.7")), 422, "validation_failed")
    assert body["results"][0]["error"]["code"] == "unsupported_media_type"


async def test_of_many_at_once_one_indexes_and_the_others_change_nothing(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/index/images", files=upload(RED)) for _ in range(12)))
    assert sum(answer.json()["indexed"] for answer in answers) == 1
    assert sum(answer.json()["unchanged"] for answer in answers) == 11
    assert (await client.get("/stats")).json()["images_indexed"] == 1


@pytest.mark.parametrize("item_id", ["..;x", "a/..;/b", ".;"])
async def test_an_id_that_could_not_be_reached_is_refused(client: httpx.AsyncClient, item_id: str) -> None:
    answer = await client.post("/index/texts", json={"items": [{"text": "a text", "id": item_id}]})
    assert "cannot stand in a URL" in problem(answer, 422, "validation_failed")["errors"][0]["msg"]


async def test_names_of_the_sender_come_back_cut(client: httpx.AsyncClient) -> None:
    name = "k" * 100_000
    for route, body in (
        ("/search/text-to-image", {"query": "a", name: 1}),
        ("/index/texts", {"items": [{"text": "a", name: 1}]}),
        ("/index/texts", {"items": [{"text": "a", "id": name}]}),
    ):
        answer = await client.post(route, json=body)
        assert answer.status_code == 422
        assert len(answer.content) < 3000


async def test_pictures_that_were_replaced_leave_no_files(client: httpx.AsyncClient, settings: Settings) -> None:
    async def index(number: int) -> None:
        content = picture((number * 5, 100, 0))
        answer = await client.post("/index/images", files=upload(content), data={"ids": '["same"]'})
        assert answer.status_code == 200

    await asyncio.gather(*(index(number) for number in range(30)))
    originals = [path for path in (settings.data / "media" / "default" / "original").rglob("*") if path.is_file()]
    assert len(originals) == 1
    assert (await client.get("/images/same")).content == originals[0].read_bytes()


async def test_a_lost_file_is_written_again(client: httpx.AsyncClient, settings: Settings) -> None:
    form = {"ids": '["mine"]', "metadata": '[{"kept": true}]'}
    await client.post("/index/images", files=upload(picture("red")), data=form)
    for path in (settings.data / "media" / "default").rglob("*"):
        if path.is_file():
            path.unlink()
    assert (await client.get("/images/mine")).status_code == 404
    again = await client.post("/index/images", files=upload(picture("red")), data={"ids": '["mine"]'})
    assert again.json()["results"] == [{"id": "mine", "status": "unchanged"}]
    assert (await client.get("/images/mine")).content == picture("red")
    assert (await client.get("/images/mine/thumbnail")).status_code == 200
    assert (await client.get("/items/image/mine")).json()["metadata"] == {"kept": True}
