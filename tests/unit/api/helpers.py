"""What the API tests share."""

import base64
from typing import Any

import httpx
from PIL import Image

from crossmodal.api.schemas.base import ProblemAnswer
from crossmodal.search.finding import Finder
from crossmodal.search.querying import Querying
from crossmodal.search.reading import TextReader
from crossmodal.search.relevance import Calibrations
from crossmodal.store.base import VectorStore
from crossmodal.wiring import Container
from tests.fakes import COLOURS
from tests.pictures import encoded


def picture(colour: str | tuple[int, int, int], side: int = 40, kind: str = "PNG") -> bytes:
    rgb = COLOURS[colour] if isinstance(colour, str) else colour
    return encoded(Image.new("RGB", (side, side), rgb), kind)


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def upload(*contents: bytes, field: str = "files") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(field, (f"{number}.png", content, "image/png")) for number, content in enumerate(contents)]


def querying_over(store: VectorStore, container: Container) -> Querying:
    """The searches of the same service over another store."""
    encoder, settings = container.encoder, container.settings
    finder = Finder(store, Calibrations(encoder, store))
    texts = TextReader(encoder, max_text_chars=settings.max_text_chars)
    return Querying(encoder, store, finder, container.pictures, texts)


async def index_colours(client: httpx.AsyncClient) -> None:
    """Index a red, a green and a blue picture, and three texts, under speaking ids."""
    names = ["red", "green", "blue"]
    items = [
        {"image": data_url(picture(name)), "id": name, "metadata": {"colour": name, "rank": rank}}
        for rank, name in enumerate(names)
    ]
    answer = await client.post("/index/images", json={"items": items})
    assert answer.json()["indexed"] == 3
    texts = [{"text": f"a {name} thing", "id": f"t-{name}", "metadata": {"colour": name}} for name in names]
    answer = await client.post("/index/texts", json={"items": texts})
    assert answer.json()["indexed"] == 3


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["results"]]


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that ``answer`` is a complete problem of this status and code; returns it."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    ProblemAnswer.model_validate(body)
    assert (body["status"], body["code"]) == (status, code), body
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["detail"]
    return body


def places(body: dict[str, Any]) -> list[list[Any]]:
    return [each["loc"] for each in body["errors"]]
