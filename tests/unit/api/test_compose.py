"""`POST /search` and `POST /recommend`: several things at once."""

from typing import Any

import httpx
import pytest

from crossmodal.api.schemas.compose import ComposedAnswer
from crossmodal.search import finding
from tests.unit.api.helpers import data_url, ids, index_colours, picture, places, problem

RED, GREEN, BLUE, WHITE = (picture(name) for name in ("red", "green", "blue", "white"))


async def compose(client: httpx.AsyncClient, *parts: dict[str, Any], **options: Any) -> httpx.Response:
    return await client.post("/search", json={"parts": list(parts)} | options)


async def index_mixtures(client: httpx.AsyncClient) -> None:
    mixtures = {"yellow": (255, 160, 0), "magenta": (255, 0, 255), "cyan": (0, 160, 255), "dark red": (120, 0, 0)}
    items = [{"image": data_url(picture(rgb)), "id": name} for name, rgb in mixtures.items()]
    assert (await client.post("/index/images", json={"items": items})).json()["indexed"] == len(mixtures)


async def test_one_part_finds_what_the_plain_search_finds(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    plain = (await client.post("/search/text-to-image", json={"query": "red", "n_results": 3})).json()["results"]
    answer = await compose(client, {"text": "red"}, n_results=3)
    assert answer.json()["results"] == plain
    assert ComposedAnswer.model_validate(answer.json()).model == "colours"
    similar = (await client.post("/search/similar-images", json={"id": "red"})).json()["results"]
    assert (await compose(client, {"id": "red"})).json()["results"] == similar
    uploaded = (await client.post("/search/image-to-text", json={"image": data_url(RED)})).json()["results"]
    assert (await compose(client, {"image": data_url(RED)}, target="text")).json()["results"] == uploaded


async def test_parts_together_find_what_has_something_of_each(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    await index_mixtures(client)
    assert ids(await compose(client, {"text": "red"}, {"text": "blue"}, n_results=1)) == ["magenta"]
    assert ids(await compose(client, {"image": data_url(RED)}, {"text": "green"}, n_results=1)) == ["yellow"]
    assert ids(await compose(client, {"id": "blue"}, {"id": "t-green", "modality": "text"}, n_results=1)) == ["cyan"]
    heavy = await compose(client, {"text": "red", "weight": 9}, {"text": "blue"}, n_results=1)
    assert ids(heavy)[0] in {"red", "dark red"}


async def test_what_is_unwanted_goes_to_the_end(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    await index_mixtures(client)
    plain = await compose(client, {"text": "red"}, n_results=7)
    found = await compose(client, {"text": "red"}, {"text": "blue", "weight": -1}, n_results=7)
    assert ids(found)[0] in {"red", "dark red"}
    assert ids(found)[-2:] == ["cyan", "blue"]
    before, after = ({hit["id"]: hit["relevance"] for hit in each.json()["results"]} for each in (plain, found))
    assert list(after.values()) == sorted(after.values(), reverse=True)
    assert after["yellow"] == pytest.approx(before["yellow"])
    assert after["magenta"] < before["magenta"] / 10


@pytest.mark.parametrize("pool", [3, 5, 7, 8])  # of seven items
async def test_hits_count_the_same_however_many_are_compared(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, pool: int
) -> None:
    await index_colours(client)
    await index_mixtures(client)
    parts: list[dict[str, Any]] = [{"text": "red"}, {"text": "blue", "weight": -1}]
    whole = (await compose(client, *parts, n_results=7)).json()["results"]
    monkeypatch.setattr(finding, "POOL", pool)
    found = (await compose(client, *parts, n_results=7)).json()["results"]
    relevances, scores = ({hit["id"]: hit[name] for hit in whole} for name in ("relevance", "score"))
    assert len(found) == len(whole) == 7
    assert {hit["id"]: hit["relevance"] for hit in found} == pytest.approx(relevances)
    assert {hit["id"]: hit["score"] for hit in found} == pytest.approx(scores)
    if pool >= 7:
        assert [hit["id"] for hit in found] == [hit["id"] for hit in whole]


async def test_pages_of_a_search_with_something_unwanted_are_slices_of_one_order(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    await index_mixtures(client)
    parts: list[dict[str, Any]] = [{"text": "red"}, {"image": data_url(WHITE)}, {"text": "blue", "weight": -2}]
    whole = ids(await compose(client, *parts, target="any", n_results=10))
    assert len(whole) == 10
    pages = [ids(await compose(client, *parts, target="any", n_results=3, offset=start)) for start in range(0, 12, 3)]
    assert [found for page in pages for found in page] == whole


async def test_any_modality_is_one_list_in_order_of_relevance(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    answer = await compose(client, {"text": "a red thing"}, target="any", n_results=6)
    hits = ComposedAnswer.model_validate(answer.json()).results
    assert {hit.modality for hit in hits} == {"image", "text"}
    assert {hit.id for hit in hits[:2]} == {"red", "t-red"}
    relevances = [hit.relevance for hit in hits]
    assert relevances == sorted(relevances, reverse=True)
    assert [hit.text is None for hit in hits] == [hit.modality == "image" for hit in hits]
    diverse = await compose(client, {"text": "a red thing"}, target="any", n_results=6, diversity=0.5)
    assert sorted(ids(diverse)) == sorted(hit.id for hit in hits)


async def test_filter_and_least_relevance_hold_for_both_modalities(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    answer = await compose(client, {"text": "red"}, target="any", filter={"colour": "blue"})
    assert sorted(ids(answer)) == ["blue", "t-blue"]
    answer = await compose(client, {"text": "red"}, target="any", min_relevance=0.5)
    assert {hit["relevance"] >= 0.5 for hit in answer.json()["results"]} == {True}
    assert "blue" not in ids(answer)


async def test_what_is_asked_by_is_never_found(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    copy = {"image": data_url(RED), "id": "red again"}
    await client.post("/index/images", json={"items": [copy]})
    found = ids(await compose(client, {"id": "red"}, {"image": data_url(BLUE)}, target="any", n_results=9))
    assert sorted(found) == ["green", "t-blue", "t-green", "t-red"]
    found = ids(await compose(client, {"id": "t-red", "modality": "text"}, target="any", n_results=9))
    assert "t-red" not in found
    assert "red" in found


async def test_explained_hits_say_what_each_part_has_to_do_with_them(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    parts: list[dict[str, Any]] = [
        {"text": "red"},
        {"image": data_url(WHITE), "weight": 0.5},
        {"text": "blue", "weight": -1},
    ]
    answer = await compose(client, *parts, explain=True, n_results=3)
    hits = {hit.id: hit for hit in ComposedAnswer.model_validate(answer.json()).results}
    for hit in hits.values():
        assert hit.contributions is not None
        assert [each.part for each in hit.contributions] == [0, 1, 2]
    red, blue = hits["red"].contributions or [], hits["blue"].contributions or []
    assert red[0].share > blue[0].share
    assert blue[2].share < red[2].share <= 0
    plain = await client.post("/search/similar-images", json={"id": "red"})
    cosine = next(hit["score"] for hit in plain.json()["results"] if hit["id"] == "blue")
    one = (await compose(client, {"id": "red"}, explain=True)).json()["results"]
    assert next(hit["contributions"][0]["score"] for hit in one if hit["id"] == "blue") == pytest.approx(cosine)
    assert "contributions" not in (await compose(client, {"text": "red"})).json()["results"][0]


async def test_recommendations_are_like_the_liked_and_unlike_the_disliked(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    await index_mixtures(client)
    liked = await client.post("/recommend", json={"liked": ["red", "blue"], "n_results": 1})
    assert ids(liked) == ["magenta"]
    without = await client.post(
        "/recommend", json={"liked": ["red"], "disliked": ["blue"], "n_results": 5, "explain": True}
    )
    assert ids(without)[0] == "dark red"
    assert not {"red", "blue"} & set(ids(without))
    assert ids(without).index("yellow") < ids(without).index("magenta")
    texts = await client.post("/recommend", json={"liked": ["t-red"], "modality": "text", "target": "image"})
    assert ids(texts)[0] in {"red", "dark red"}


@pytest.mark.parametrize(
    ("body", "status", "code", "loc"),
    [
        ({"parts": []}, 422, "validation_failed", ["parts"]),
        ({"parts": [{"text": "x"}] * 33}, 422, "validation_failed", ["parts"]),
        ({"parts": [{}]}, 422, "validation_failed", ["parts", 0]),
        ({"parts": [{"text": "x", "id": "red"}]}, 422, "validation_failed", ["parts", 0]),
        ({"parts": [{"text": "x"}, {"text": " "}]}, 422, "validation_failed", ["parts", 1]),
        ({"parts": [{"text": "x", "weight": 11}]}, 422, "validation_failed", ["parts", 0, "weight"]),
        ({"parts": [{"text": "x", "weight": "1"}]}, 422, "validation_failed", ["parts", 0, "weight"]),
        ({"parts": [{"text": "x", "weight": -1}]}, 422, "validation_failed", ["parts"]),
        ({"parts": [{"text": "x", "weight": 0}]}, 422, "validation_failed", ["parts"]),
        ({"parts": [{"text": "x", "weight": 0}, {"id": "red", "weight": -1}]}, 422, "validation_failed", ["parts"]),
        ({"parts": [{"text": "x", "modality": "image"}]}, 422, "validation_failed", ["parts", 0, "modality"]),
        ({"parts": [{"text": "x", "modality": "sound"}]}, 422, "validation_failed", ["parts", 0, "modality"]),
        ({"parts": [{"text": "x"}], "target": "both"}, 422, "validation_failed", ["target"]),
        ({"parts": [{"text": "x"}, {"image": "!"}]}, 422, "validation_failed", ["parts", 1, "image"]),
        ({"parts": [{"text": "x"}, {"id": "nobody"}]}, 404, "not_found", None),
        ({"parts": [{"id": "red", "modality": "text"}]}, 404, "not_found", None),
    ],
)
async def test_what_cannot_be_asked(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, loc: list[Any] | None
) -> None:
    await index_colours(client)
    refused = problem(await client.post("/search", json=body), status, code)
    if loc is not None:
        assert places(refused)[0] == loc


@pytest.mark.parametrize(
    ("body", "status"),
    [({"liked": []}, 422), ({"disliked": ["red"]}, 422), ({"liked": ["red"] * 101}, 422), ({"liked": ["nobody"]}, 404)],
)
async def test_what_cannot_be_recommended_from(client: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    await index_colours(client)
    problem(await client.post("/recommend", json=body), status, "not_found" if status == 404 else "validation_failed")


@pytest.mark.parametrize(("member", "place"), [("liked", 1), ("disliked", 0)])
async def test_the_place_of_an_unknown_item_is_that_in_its_list(
    client: httpx.AsyncClient, member: str, place: int
) -> None:
    await index_colours(client)
    body = {"liked": ["red"]} | {member: ["red", "nobody"] if member == "liked" else ["nobody"]}
    assert places(problem(await client.post("/recommend", json=body), 404, "not_found")) == [[member, place]]


async def test_an_item_cannot_be_liked_and_disliked(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    body = {"liked": ["red", "blue"], "disliked": ["green", "blue"]}
    assert places(problem(await client.post("/recommend", json=body), 422, "validation_failed")) == [["disliked", 1]]


async def test_asking_the_same_twice_does_not_make_it_surer(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    once = (await compose(client, {"text": "white"}, n_results=3)).json()["results"]
    often = (await compose(client, *[{"text": "white"}] * 8, n_results=3)).json()["results"]
    assert [hit["relevance"] for hit in often] == pytest.approx([hit["relevance"] for hit in once], rel=1e-3)


async def test_the_smallest_weight_is_a_weight(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    assert ids(await compose(client, {"text": "red", "weight": 5e-324}, n_results=1)) == ["red"]


@pytest.mark.parametrize("target", ["image", "any"])
@pytest.mark.parametrize("extra", [{}, {"diversity": 0.9}, {"unwanted": True}])
async def test_pages_of_relevant_hits_have_no_holes(
    client: httpx.AsyncClient, target: str, extra: dict[str, Any]
) -> None:
    await index_colours(client)
    await index_mixtures(client)
    parts: list[dict[str, Any]] = [
        {"text": "red"},
        *([{"text": "blue", "weight": -1}] if extra.get("unwanted") else []),
    ]
    options = {"target": target, "min_relevance": 0.01} | {name: extra[name] for name in extra if name != "unwanted"}
    whole = ids(await compose(client, *parts, **options, n_results=50))
    assert 2 <= len(whole) < 10
    pages = [ids(await compose(client, *parts, **options, n_results=2, offset=start)) for start in range(0, 12, 2)]
    assert [found for page in pages for found in page] == whole


@pytest.mark.parametrize("pool", [1, 4, 500])
async def test_a_window_reaches_past_those_that_penalties_make_irrelevant(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, pool: int
) -> None:
    monkeypatch.setattr(finding, "POOL", pool)
    blueish = {f"blueish {shade}": (255, 0, shade) for shade in range(40, 240, 20)}
    greenish = {f"greenish {shade}": (255, shade + 10, 0) for shade in range(40, 240, 20)}
    items = [{"image": data_url(picture(rgb)), "id": name} for name, rgb in (blueish | greenish).items()]
    await client.post("/index/images", json={"items": items})
    parts: list[dict[str, Any]] = [{"text": "red"}, {"text": "blue", "weight": -3}]
    all_of_them = (await compose(client, *parts, n_results=20)).json()["results"]
    relevant = min(hit["relevance"] for hit in all_of_them if hit["id"] in greenish)
    options = {"min_relevance": relevant * 0.99}
    whole = ids(await compose(client, *parts, **options, n_results=20))
    assert set(greenish) <= set(whole)
    assert len(whole) < 20
    for size in (1, 3):
        pages = [ids(await compose(client, *parts, **options, n_results=size, offset=at)) for at in range(0, 21, size)]
        assert [found for page in pages for found in page] == whole


async def test_a_long_text_among_the_parts_is_said_to_be_cut(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    parts = {"text": "red"}, {"text": "blue " * 20}
    answer = (await compose(client, *parts)).json()
    assert (answer["tokens_used"], answer["truncated"]) == (1 + 12, True)
    answer = (await compose(client, *parts, long_text="split")).json()
    assert (answer["tokens_used"], answer["truncated"]) == (1 + 20, False)
    answer = (await compose(client, {"id": "red"})).json()
    assert (answer["tokens_used"], answer["truncated"]) == (0, False)
