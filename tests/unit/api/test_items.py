import json
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from PIL import Image

from crossmodal.api.schemas.base import ItemAnswer
from crossmodal.api.schemas.items import PageAnswer, StatsAnswer
from crossmodal.settings import Settings
from tests.unit.api.helpers import ids, index_colours, picture, problem, upload

RED = picture("red", side=600)


async def test_an_item_as_it_was_indexed(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    item = ItemAnswer.model_validate((await client.get("/items/image/red")).json())
    assert (item.id, item.modality, item.metadata) == ("red", "image", {"colour": "red", "rank": 0})
    assert datetime.fromisoformat(item.created_at).tzinfo is not None


async def test_pictures_and_thumbnails(client: httpx.AsyncClient, tmp_path: Path) -> None:
    (item_id,) = [each["id"] for each in (await client.post("/index/images", files=upload(RED))).json()["results"]]
    original = await client.get(f"/images/{item_id}")
    assert (original.content, original.headers["content-type"]) == (RED, "image/png")
    assert "immutable" in original.headers["cache-control"]
    thumbnail = await client.get(f"/images/{item_id}/thumbnail")
    assert thumbnail.headers["content-type"] == "image/webp"
    (tmp_path / "t.webp").write_bytes(thumbnail.content)
    with Image.open(tmp_path / "t.webp") as image:
        assert image.size == (256, 256)
    assert thumbnail.headers["etag"] != original.headers["etag"]
    assert "sandbox" in original.headers["content-security-policy"]


async def test_a_known_etag_saves_the_bytes(client: httpx.AsyncClient) -> None:
    await client.post("/index/images", files=upload(RED))
    url = f"/images/{sha256(RED).hexdigest()}"
    etag = (await client.get(url)).headers["etag"]
    again = await client.get(url, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await client.get(url, headers={"If-None-Match": '"other"'})).status_code == 200
    head = await client.head(url)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(RED)))


async def test_a_callers_id_is_cached_for_a_while_only(client: httpx.AsyncClient) -> None:
    await client.post("/index/images", files=upload(RED), data={"ids": '["a folder/pic 1.png"]'})
    answer = await client.get("/images/a%20folder/pic%201.png")
    assert (answer.content, answer.headers["cache-control"]) == (RED, "public, max-age=3600, must-revalidate")
    hit = (await client.post("/search/text-to-image", json={"query": "red"})).json()["results"][0]
    assert hit["uri"] == "/images/a%20folder/pic%201.png"
    assert (await client.get(hit["thumbnail_url"])).status_code == 200


async def test_a_deleted_item_is_never_found_again(client: httpx.AsyncClient, settings: Settings) -> None:
    await index_colours(client)
    assert (await client.delete("/items/image/red")).status_code == 204
    for url in ("/items/image/red", "/images/red", "/images/red/thumbnail"):
        problem(await client.get(url), 404, "not_found")
    problem(await client.delete("/items/image/red"), 404, "not_found")
    assert "red" not in ids(await client.post("/search/text-to-image", json={"query": "red"}))
    names = kept_files(Path(settings.media_url))
    assert any(sha256(picture("blue")).hexdigest() in name for name in names)
    assert not any(sha256(picture("red")).hexdigest() in name for name in names)


def kept_files(folder: Path) -> list[str]:
    return ["".join(path.relative_to(folder).parts) for path in folder.rglob("*") if path.is_file()]


async def test_a_file_two_items_share_goes_with_the_last(client: httpx.AsyncClient) -> None:
    await client.post("/index/images", files=upload(RED), data={"ids": '["one"]'})
    await client.post("/index/images", files=upload(RED), data={"ids": '["two"]'})
    await client.delete("/items/image/one")
    assert (await client.get("/images/two")).content == RED
    await client.delete("/items/image/two")
    problem(await client.get("/images/two"), 404, "not_found")


async def test_listing_walks_through_everything_once(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = PageAnswer.model_validate((await client.get("/items/text", params=params)).json())
        assert len(page.items) <= 2
        seen += [item.id for item in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(seen) == ["t-blue", "t-green", "t-red"]
    filtered = await client.get("/items/text", params={"filter": json.dumps({"colour": "red"})})
    assert [item["id"] for item in filtered.json()["items"]] == ["t-red"]


@pytest.mark.parametrize(
    "params",
    [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"cursor": "garbage"}, {"filter": "{"}, {"filter": "[]"}],
)
async def test_bad_listing_parameters(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    problem(await client.get("/items/image", params=params), 422, "validation_failed")


@pytest.mark.parametrize(
    "url", ["/items/image/none", "/items/video", "/items/video/x", "/images/none", "/nowhere", "/items"]
)
async def test_what_does_not_exist_is_404(client: httpx.AsyncClient, url: str) -> None:
    problem(await client.get(url), 404, "not_found")


async def test_stats_count(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    stats = StatsAnswer.model_validate((await client.get("/stats")).json())
    assert (stats.images_indexed, stats.texts_indexed, stats.model, stats.embedding_dim) == (3, 3, "colours", 16)
    assert (stats.device, stats.precision, stats.fingerprint) == ("cpu", "fp32", "colour-model-1")
    assert stats.runtime == "torch"
