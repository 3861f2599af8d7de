import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import ImageEnhance

from crossmodal.api.schemas.duplicates import DuplicatesAnswer
from crossmodal.records import DEFAULT_TENANT, Modality, Partition
from crossmodal.wiring import Container
from tests.pictures import encoded, photograph, quadrants
from tests.unit.api.helpers import data_url, picture, places, problem

ORIGINAL = photograph(160, 120, seed=1)
PICTURES = {
    "original": encoded(ORIGINAL, "PNG"),
    "copy": encoded(ORIGINAL, "PNG"),
    "resized": encoded(ORIGINAL.resize((80, 60)), "PNG"),
    "recompressed": encoded(ORIGINAL, "JPEG", quality=30),
    "darker": encoded(ImageEnhance.Brightness(ORIGINAL).enhance(0.75), "PNG"),
    "other": encoded(quadrants(160, 120), "PNG"),
    "flat": picture("red"),
}
COPIES = ["copy", "darker", "original", "recompressed", "resized"]


async def index(client: httpx.AsyncClient, *names: str) -> None:
    items = [
        {"image": data_url(PICTURES[name]), "id": name, "metadata": {"even": len(name) % 2 == 0}} for name in names
    ]
    answer = await client.post("/index/images", json={"items": items})
    assert answer.json()["failed"] == 0, answer.text


async def groups(client: httpx.AsyncClient, **body: object) -> list[tuple[list[str], list[str]]]:
    answer = await client.post("/duplicates", json=body)
    assert answer.status_code == 200, answer.text
    return [(group.ids, list(group.kinds)) for group in DuplicatesAnswer.model_validate(answer.json()).groups]


async def test_copies_are_one_group_and_others_are_not_in_it(client: httpx.AsyncClient) -> None:
    await index(client, *PICTURES)
    answer = await client.post("/duplicates", json={})
    body: dict[str, Any] = answer.json()
    assert [group["ids"] for group in body["groups"]] == [COPIES]
    assert body["groups"][0]["kinds"] == ["exact", "perceptual"]
    assert (body["examined"], body["truncated"]) == (7, False)
    assert 0.9 < body["groups"][0]["min_score"] < body["groups"][0]["max_score"] == 1.0
    assert "compare" in answer.headers["server-timing"]
    assert await groups(client, method="exact") == [(["copy", "original"], ["exact"])]
    assert await groups(client, method="perceptual") == [(COPIES, ["exact", "perceptual"])]
    even = [name for name in COPIES if len(name) % 2 == 0]
    assert await groups(client, filter={"even": True}) == [(even, ["exact", "perceptual"])]


async def test_texts_are_the_same_by_content_or_embedding(client: httpx.AsyncClient) -> None:
    items = [
        {"text": text, "id": f"{number}"} for number, text in enumerate(("red", "red", "red red", "blue", "a cat"))
    ]
    await client.post("/index/texts", json={"items": items})
    assert await groups(client, modality="text") == [(["0", "1", "2"], ["exact", "embedding"])]
    assert await groups(client, modality="text", method="exact") == [(["0", "1"], ["exact"])]
    assert await groups(client) == []


async def test_pictures_without_a_signature_take_part_and_are_completed_when_indexed_again(
    client: httpx.AsyncClient, container: Container
) -> None:
    await index(client, "original", "copy", "resized")
    partition, names = Partition(DEFAULT_TENANT, Modality.IMAGE), ["original", "copy", "resized"]
    points = await container.store.fetch(partition, names, with_embeddings=True)
    old = [replace(point, item=replace(point.item, signature=b"")) for point in points if point is not None]
    await container.store.upsert(partition, old)
    assert await groups(client, method="perceptual") == [(["copy", "original"], ["exact"])]
    assert await groups(client) == [(["copy", "original", "resized"], ["exact", "embedding"])]
    await index(client, "original", "copy", "resized")
    after = await container.store.fetch(partition, names)
    assert [entry.item if entry else None for entry in after] == [entry.item if entry else None for entry in points]
    assert await groups(client, method="perceptual") == [(["copy", "original", "resized"], ["exact", "perceptual"])]


async def test_new_metadata_keep_the_signature(client: httpx.AsyncClient, container: Container) -> None:
    await index(client, "original")
    body = {"items": [{"image": data_url(PICTURES["original"]), "id": "original", "metadata": {"new": 1}}]}
    assert (await client.post("/index/images", json=body)).json()["indexed"] == 1
    [point] = await container.store.fetch(Partition(DEFAULT_TENANT, Modality.IMAGE), ["original"])
    assert point is not None
    assert point.item.metadata == {"new": 1}
    assert len(point.item.signature) == 607


async def test_an_empty_collection_has_none(client: httpx.AsyncClient) -> None:
    answer = await client.post("/duplicates", json={"threshold": None, "filter": None})
    assert answer.json() == {"groups": [], "examined": 0, "truncated": False}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"threshold": 1.1}, ["threshold"]),
        ({"threshold": "0.9"}, ["threshold"]),
        ({"limit": 0}, ["limit"]),
        ({"limit": 1001}, ["limit"]),
        ({"modality": "any"}, ["modality"]),
        ({"method": "best"}, ["method"]),
        ({"linkage": "single"}, ["linkage"]),
        ({"modality": "text", "method": "perceptual"}, ["method"]),
        ({"filter": {"a": {"near": 1}}}, ["filter", "a", "near"]),
        ({"treshold": 0.9}, ["treshold"]),
    ],
)
async def test_bad_fields_are_named(client: httpx.AsyncClient, body: object, place: list[str]) -> None:
    answer = await client.post("/duplicates", json=body)
    assert places(problem(answer, 422, "validation_failed")) == [place]


async def test_many_may_ask_at_once(client: httpx.AsyncClient) -> None:
    await index(client, "original", "copy")
    answers = await asyncio.gather(*(client.post("/duplicates", json={}) for _ in range(5)))
    assert [answer.json()["groups"][0]["ids"] for answer in answers] == [["copy", "original"]] * 5
