from pathlib import Path
from typing import Any

import httpx
import pytest

from crossmodal.api.schemas.describe import DescribeAnswer
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.errors import ConfigurationError
from crossmodal.search.seeing import PictureSource
from crossmodal.search.wording import NOTHING_FITS
from crossmodal.settings import Settings
from crossmodal.wiring import build_container
from tests.fakes import ColourModel
from tests.unit.api.helpers import data_url, index_colours, picture, places, problem, upload

RED = picture("red")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "words.txt").write_text("elephant\ngreen elephant\n[one]\nred\ngreen\nblue\n")
    return Settings(store="memory:", data=tmp_path, vocabulary=tmp_path / "words.txt")


async def ask(client: httpx.AsyncClient, **members: Any) -> DescribeAnswer:
    answer = await client.post("/describe", json=members)
    assert answer.status_code == 200, answer.text
    return DescribeAnswer.model_validate(answer.json())


async def test_captions_are_the_texts_that_fit_and_tags_the_words_that_do(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    answer = await ask(client, image=data_url(RED))
    assert [hit.id for hit in answer.captions] == ["t-red"]  # the others are weak matches
    assert answer.captions[0].weak_match is False
    assert [tag.tag for tag in answer.tags] == ["red"]
    assert answer.tags[0].probability > 0.99
    assert answer.sentence == "Probably: a red thing."
    assert (answer.source, answer.model) == ("retrieved", "colours")


async def test_the_score_of_a_tag_is_the_cosine_of_its_prompt(client: httpx.AsyncClient) -> None:
    tag = (await ask(client, image=data_url(RED))).tags[0]
    body = {"text": "a photo of red", "image": data_url(RED)}
    assert tag.score == pytest.approx((await client.post("/similarity", json=body)).json()["similarity"], abs=1e-6)


async def test_tags_are_given_where_no_caption_fits(client: httpx.AsyncClient) -> None:
    assert (await ask(client, image=data_url(RED))).sentence == "No caption fits; words that do: red."


async def test_words_that_do_not_stand_out_are_no_tags(client: httpx.AsyncClient) -> None:
    green = await ask(client, image=data_url(picture("green")))
    assert [tag.tag for tag in green.tags] == ["green", "green elephant"]
    scores = [tag.score for tag in green.tags]
    assert scores == sorted(scores, reverse=True)


async def test_a_word_of_two_sections_is_one_tag(settings: Settings) -> None:
    settings.vocabulary.write_text("red\n[one]\nred\ngreen\n")
    container = build_container(settings, LocalEncoder(ColourModel(), BatchLimits()))
    await container.open()
    description = await container.describing.describe("default", PictureSource(content=RED), n_results=1)
    assert [tag.tag for tag in description.tags] == ["red"]
    await container.close()


async def test_it_is_honest_where_nothing_fits(client: httpx.AsyncClient) -> None:
    await index_colours(client)
    answer = await ask(client, image=data_url(picture((128, 128, 128))))
    assert (answer.captions, answer.tags, answer.sentence) == ([], [], NOTHING_FITS)


async def test_at_most_n_results_captions(client: httpx.AsyncClient) -> None:
    texts = [f"red {word}" for word in ("ball", "box", "car", "door", "egg")]
    await client.post("/index/texts", json={"items": texts})
    assert len((await ask(client, image=data_url(RED))).captions) == 3
    assert len((await ask(client, image=data_url(RED), n_results=4)).captions) == 4
    form = await client.post("/describe", files=upload(RED, field="file"), data={"n_results": "1"})
    assert len(form.json()["captions"]) == 1


async def test_an_indexed_picture_is_not_decoded_and_words_are_embedded_once(
    client: httpx.AsyncClient, model: ColourModel
) -> None:
    await index_colours(client)
    first = await ask(client, image=data_url(RED))
    seen = [text for text in model.texts_seen if text.startswith("a photo of ")]
    words = ["elephant", "green elephant", "red", "green", "blue"]
    assert sorted(seen) == sorted(f"a photo of {word}" for word in words)
    batches = len(model.batches)
    second = await ask(client, id="red")
    assert len(model.batches) == batches
    assert [tag.tag for tag in second.tags] == [tag.tag for tag in first.tags]
    assert second.sentence == first.sentence


@pytest.mark.parametrize(
    ("body", "status", "code", "place"),
    [
        ({"image": data_url(RED), "n_results": 0}, 422, "validation_failed", ["n_results"]),
        ({"image": data_url(RED), "n_results": 101}, 422, "validation_failed", ["n_results"]),
        ({"image": data_url(RED), "offset": 1}, 422, "validation_failed", ["offset"]),
        ({"image": data_url(b"junk")}, 422, "image_undecodable", ["image"]),
        ({"image": data_url(RED), "id": "red"}, 422, "validation_failed", ["image"]),
        ({"id": "nobody"}, 404, "not_found", ["id"]),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, place: list[object]
) -> None:
    assert places(problem(await client.post("/describe", json=body), status, code)) == [place]


def test_a_vocabulary_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    settings = Settings(store="memory:", data=tmp_path, vocabulary=tmp_path / "none.txt")
    with pytest.raises(ConfigurationError, match=r"none\.txt: No such file"):
        build_container(settings, LocalEncoder(ColourModel(), BatchLimits()))
