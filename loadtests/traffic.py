"""What users ask: kinds of requests, the mixes they come in, and what each must be answered. Knows no load generator."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from benchmarks.inputs import captions, photographs
from tests.pictures import png_bomb
from tools.load import multipart, request_bytes

JSON = "application/json"
PHOTOGRAPHS = 32
TEXTS = 4000
EMBEDDED = 64
"""Texts in a call that embeds many."""
WRITTEN = 1000
"""Ids that are written, round and round: a run of any length leaves at most so many items of each modality."""
OVERLOADED = 429
SHED = "shed with 429"


class Kind(StrEnum):
    """Kinds of requests, as the objectives and the report name them."""

    SEARCH_TEXT = "search_text"
    SEARCH_IMAGE = "search_image"
    SEARCH_PARTS = "search_parts"
    IMAGE_TO_TEXT = "image_to_text"
    LIST = "list"
    INDEX_IMAGE = "index_image"
    INDEX_TEXT = "index_text"
    EMBED_TEXTS = "embed_texts"
    BAD = "bad"


Mix = Mapping[Kind, int]
"""Weights of the kinds; a kind that is not named does not come."""

MIXES: dict[str, Mix] = {
    "search": {
        Kind.SEARCH_TEXT: 60,
        Kind.SEARCH_IMAGE: 20,
        Kind.SEARCH_PARTS: 5,
        Kind.IMAGE_TO_TEXT: 5,
        Kind.LIST: 5,
        Kind.INDEX_IMAGE: 2,
        Kind.INDEX_TEXT: 3,
    },
    "upload": {Kind.INDEX_IMAGE: 50, Kind.INDEX_TEXT: 20, Kind.SEARCH_TEXT: 20, Kind.SEARCH_IMAGE: 10},
    "mixed": {
        Kind.SEARCH_TEXT: 35,
        Kind.SEARCH_IMAGE: 15,
        Kind.SEARCH_PARTS: 5,
        Kind.IMAGE_TO_TEXT: 5,
        Kind.LIST: 5,
        Kind.INDEX_IMAGE: 10,
        Kind.INDEX_TEXT: 10,
        Kind.BAD: 15,
    },
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the status and the problem's code that it must be answered with."""

    kind: Kind
    method: str
    path: str
    body: bytes = b""
    content_type: str = JSON
    status: int = 200
    code: str = ""

    @property
    def wire(self) -> bytes:
        """The request as it is sent over HTTP/1.1."""
        return request_bytes(self.method, self.path, self.body, self.content_type)

    def fault(self, status: int, body: bytes) -> str | None:
        """What is wrong with an answer: None, ``SHED`` where the service is at its limit and says so, or a few words.

        A bad request that gets its documented 4xx, with the documented code, is answered rightly.
        """
        if status == self.status:
            return None if not self.code or _code(body) == self.code else f"{status} without the code {self.code}"
        return SHED if status == OVERLOADED else f"status {status}, not {self.status}"


class Traffic:
    """Draws requests at random from ``seed``: texts and pictures are made here, the same in every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._texts, self._pictures, self._bad = _material()
        self._written = 0
        self._makers: dict[Kind, Callable[[], Asked]] = {
            Kind.SEARCH_TEXT: lambda: _post(Kind.SEARCH_TEXT, "/search/text-to-image", {"query": self._text()}),
            Kind.SEARCH_IMAGE: lambda: _upload(Kind.SEARCH_IMAGE, "/search/similar-images", self._picture()),
            Kind.SEARCH_PARTS: self._parts,
            Kind.IMAGE_TO_TEXT: lambda: _upload(Kind.IMAGE_TO_TEXT, "/search/image-to-text", self._picture()),
            Kind.LIST: lambda: Asked(Kind.LIST, "GET", "/items/image?limit=20"),
            Kind.INDEX_IMAGE: self._index_image,
            Kind.INDEX_TEXT: self._index_text,
            Kind.EMBED_TEXTS: self._embed_texts,
            Kind.BAD: lambda: self._random.choice(self._bad),
        }

    def of(self, kind: Kind) -> Asked:
        """The next request of a kind."""
        return self._makers[kind]()

    def next(self, mix: Mix) -> Asked:
        """The next request of a mix."""
        (kind,) = self._random.choices(list(mix), list(mix.values()))
        return self.of(kind)

    def gap(self, rate: float) -> float:
        """Seconds until the next of arrivals that know nothing of each other, ``rate`` a second (a Poisson process)."""
        return self._random.expovariate(rate)

    def _text(self) -> str:
        return self._random.choice(self._texts)

    def _picture(self) -> bytes:
        return self._random.choice(self._pictures)

    def _parts(self) -> Asked:
        parts = [{"text": self._text()}, {"text": self._text(), "weight": -0.5}]
        return _post(Kind.SEARCH_PARTS, "/search", {"parts": parts, "target": "image"})

    def _embed_texts(self) -> Asked:
        return _post(Kind.EMBED_TEXTS, "/embed/texts", {"texts": self._random.sample(self._texts, EMBEDDED)})

    def _id(self) -> str:
        self._written += 1
        return f"loadtest-{self._written % WRITTEN}"

    def _index_image(self) -> Asked:
        fields = f'--b\r\nContent-Disposition: form-data; name="ids"\r\n\r\n["{self._id()}"]\r\n'.encode()
        body, content_type = multipart(self._picture(), "files")
        return Asked(Kind.INDEX_IMAGE, "POST", "/index/images", fields + body, content_type)

    def _index_text(self) -> Asked:
        return _post(Kind.INDEX_TEXT, "/index/texts", {"items": [{"text": self._text(), "id": self._id()}]})


@cache
def _material() -> tuple[list[str], list[bytes], tuple[Asked, ...]]:
    texts, pictures = captions(TEXTS), photographs(PHOTOGRAPHS)
    return texts, pictures, bad_requests(pictures[0])


def bad_requests(photograph: bytes) -> tuple[Asked, ...]:
    """One of each way to be wrong that users meet most, with its documented answer; ``photograph`` is a good JPEG."""
    text, image = "/search/text-to-image", "/search/similar-images"

    def wrong(
        path: str, body: bytes, status: int, code: str, *, method: str = "POST", content_type: str = JSON
    ) -> Asked:
        return Asked(Kind.BAD, method, path, body, content_type, status, code)

    def picture(content: bytes, status: int, code: str) -> Asked:
        body, content_type = multipart(content)
        return wrong(image, body, status, code, content_type=content_type)

    return (
        wrong(text, b'{"query": "a do', 400, "malformed_body"),
        wrong(text, b"{}", 422, "validation_failed"),
        wrong(text, b'{"query": "a dog", "n_results": 0}', 422, "validation_failed"),
        wrong(text, b'{"query": "a dog", "filter": {"price": {"near": 1}}}', 422, "validation_failed"),
        wrong(text, json.dumps({"query": "a" * 10_001}).encode(), 422, "text_too_long"),
        wrong(text, b"query=a+dog", 415, "unsupported_media_type", content_type="application/x-www-form-urlencoded"),
        wrong(image, b'{"id": "nobody gave this id"}', 404, "not_found"),
        wrong("/items/image/nobody-gave-this-id", b"", 404, "not_found", method="GET"),
        wrong("/no/such/route", b"{}", 404, "not_found"),
        picture(b"this is no picture", 422, "image_undecodable"),
        picture(b"%PDF-1.7\n%%EOF", 415, "unsupported_media_type"),
        picture(photograph[: len(photograph) // 2], 422, "image_undecodable"),
        picture(png_bomb(), 422, "image_too_large"),
    )


def _code(body: bytes) -> object:
    try:
        problem = json.loads(body)
    except ValueError:
        return None
    return problem.get("code") if isinstance(problem, dict) else None


def _post(kind: Kind, path: str, body: object) -> Asked:
    return Asked(kind, "POST", path, json.dumps(body).encode())


def _upload(kind: Kind, path: str, content: bytes) -> Asked:
    body, content_type = multipart(content)
    return Asked(kind, "POST", path, body, content_type)
