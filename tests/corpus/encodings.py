"""Pictures as strings of JSON: base64, data URLs, and addresses of other kinds."""

import base64

from tests.corpus.cases import Case, Collector
from tests.corpus.pictures import SEARCH, good
from tests.corpus.wire import as_json, data_url

INVALID = "validation_failed"


def _strings() -> dict[str, str]:
    """Strings that are no picture, refused before anything is decoded."""
    plain = base64.b64encode(good()).decode()
    return {
        "empty": "",
        "blanks": " \n ",
        "bad-character": plain[:40] + "!" + plain[41:],
        "bad-length": plain.rstrip("=")[: len(plain) // 4 * 4 - 3],
        "too-much-padding": plain.rstrip("=") + "====",
        "mixed-alphabets": "-" + plain[1:40] + "+" + plain[41:],
        "padding-inside": plain[:40] + "==" + plain[40:],
        "not-ascii": "пиксели",
        "data-no-comma": "data:image/png;base64",
        "data-nothing": "data:image/png;base64,",
        "data-bad-base64": "data:image/png;base64,%%%%",
        "http": "http://127.0.0.1:1/x.png",
        "https": "HTTPS://127.0.0.1:1/x.png",
        "http-metadata-address": "http://169.254.169.254/latest",
        "ftp": "ftp://127.0.0.1/x.png",
        "file": "file:///x.png",
        "gopher": "gopher://127.0.0.1:1/x",
        "path": "/images/../x.png",
        "path-relative": "..\\x.png",
    }


def cases() -> list[Case]:
    given = Collector("encodings")
    route = f"POST {SEARCH}"
    for name, text in _strings().items():
        given.add(f"string-{name}", route, as_json(SEARCH, {"image": text}), 422, INVALID, sampled=name == "http")
    unsupported = {"data-html": data_url(good(), "text/html"), "data-json": "data:application/json,{}"}
    for name, text in unsupported.items():
        given.add(f"string-{name}", route, as_json(SEARCH, {"image": text}), 415, "unsupported_media_type")
    no_picture = {"base64-of-text": base64.b64encode(b"hello").decode(), "data-plain": "data:,hello"}
    for name, text in no_picture.items():
        given.add(f"string-{name}", route, as_json(SEARCH, {"image": text}), 422, "image_undecodable")
    wrong: dict[str, object] = {"null": None, "number": 5, "list": [], "object": {"url": "http://127.0.0.1:1/"}}
    for name, value in wrong.items():
        given.add(f"image-{name}", route, as_json(SEARCH, {"image": value}), 422, INVALID)
    items = {"items": [{"image": "http://127.0.0.1:1/x.png"}, {"image": "file:///x.png"}]}
    given.add("index-addresses", "POST /index/images", as_json("/index/images", items), 422, INVALID)
    given.add(
        "similarity-address",
        "POST /similarity",
        as_json("/similarity", {"text": "a", "image": "http://[::1]/"}),
        422,
        INVALID,
    )
    both = {"image": data_url(good()), "id": "corpus-0"}
    given.add("image-and-id", route, as_json(SEARCH, both), 422, INVALID)
    given.add("neither-image-nor-id", route, as_json(SEARCH, {}), 422, INVALID)
    given.add("url-safe-alphabet", route, as_json(SEARCH, {"image": base64.urlsafe_b64encode(good()).decode()}), 200)
    given.add("wrapped-base64", route, as_json(SEARCH, {"image": base64.encodebytes(good()).decode()}), 200)
    return given.cases
