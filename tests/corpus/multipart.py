"""Multipart bodies: broken, cut off, overfull, with the wrong fields."""

import json

from tests.corpus.cases import Case, Collector
from tests.corpus.pictures import SEARCH, good
from tests.corpus.wire import BOUNDARY, FORM, form, form_body, part, request

INDEX = "/index/images"
BROKEN = "malformed_body"
INVALID = "validation_failed"


def _raw(target: str, body: bytes, kind: str | bytes = FORM) -> bytes:
    return request("POST", target, body, headers=[("Content-Type", kind)])


def cases() -> list[Case]:
    given = Collector("multipart")
    _framing(given)
    _fields(given)
    _companions(given)
    return given.cases


def _framing(given: Collector) -> None:
    whole = form_body([part("file", good(), "x.png")])
    delimiter = f"--{BOUNDARY}".encode()
    nested = f'multipart/form-data; boundary="{BOUNDARY}"'
    inner = b"Content-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\r\nx\r\n--inner--\r\n"
    route = f"POST {SEARCH}"
    broken: list[tuple[str, bytes, str | bytes]] = [
        ("no-boundary", whole, "multipart/form-data"),
        ("empty-boundary", whole, "multipart/form-data; boundary="),
        ("other-boundary", whole, "multipart/form-data; boundary=another"),
        ("boundary-too-long", whole, "multipart/form-data; boundary=" + "b" * 2000),
        ("boundary-not-ascii", whole, b"multipart/form-data; boundary=\xff\xfe"),
        ("no-body", b"", FORM),
        ("nonsense", b"nonsense", FORM),
        ("cut-in-header", whole[:60], FORM),
        ("cut-in-file", whole[: len(whole) // 2], FORM),
        ("no-closing-boundary", whole.replace(delimiter + b"--\r\n", b""), FORM),
        ("no-disposition", delimiter + b"\r\nContent-Type: image/png\r\n\r\nx\r\n" + delimiter + b"--\r\n", FORM),
        ("no-name", delimiter + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + delimiter + b"--\r\n", FORM),
        ("bad-header-name", delimiter + b"\r\nContent Disposition: x\r\n\r\nx\r\n" + delimiter + b"--\r\n", FORM),
        ("bare-newlines", whole.replace(b"\r\n", b"\n"), FORM),
        ("huge-part-header", whole.replace(b"Content-D", b"X: " + b"h" * 1_000_000 + b"\r\nContent-D", 1), FORM),
        ("many-part-headers", whole.replace(b"Content-D", b"X: h\r\n" * 100_000 + b"Content-D", 1), FORM),
        ("nested", delimiter + b"\r\n" + inner + delimiter + b"--\r\n", nested),
        ("1001-files", form_body([part("files", b"x", "x")] * 1001), FORM),
        ("1001-fields", form_body([part("text", "x")] * 1001), FORM),
        ("field-over-1-mib", form_body([part("file", good(), "x"), part("n_results", "1" * 1_100_000)]), FORM),
        ("preamble", b"hello\r\n" + whole, FORM),
    ]
    for name, body, kind in broken:
        given.add(f"form-{name}", route, _raw(SEARCH, body, kind), 400, BROKEN, sampled=name == "cut-in-file")
    latin = form_body([part("file", good(), "x"), part("text", "stra\xdfe".encode("latin-1"))])
    given.add("text-not-utf-8", "POST /similarity", _raw("/similarity", latin), 400, BROKEN, sampled=True)
    for charset in ("latin-1", "utf-16", "utf-7", "no-such-charset", "undefined", "idna", "hex", "\xff"):
        text = form_body([part("file", good(), "x"), part("text", "a cat")])
        kind = f"{FORM}; charset={charset}".encode("latin-1")
        given.add(
            f"charset-{charset!a}".replace("'", ""),
            "POST /similarity",
            _raw("/similarity", text, kind),
            415,
            "unsupported_media_type",
        )
    fine = form_body([part("file", good(), "x"), part("text", "eine Straße")])
    given.add("charset-utf-8", "POST /similarity", _raw("/similarity", fine, f"{FORM}; charset=UTF-8"), 200)
    given.add("epilogue", route, _raw(SEARCH, whole + b"\r\ngood bye"), 200)
    latin_name = form_body([part("file", good(), "stra\xdfe.png")])
    given.add("filename-not-utf-8", route, _raw(SEARCH, latin_name), 200)


def _fields(given: Collector) -> None:
    file = part("file", good(), "x.png")
    route = f"POST {SEARCH}"
    for name, parts in {
        "wrong-field": [part("files", good(), "x.png")],
        "no-file": [part("n_results", "3")],
        "two-files": [file, file],
        "plain-field-for-file": [part("file", good().decode("latin-1").encode())],
        "file-and-plain-field": [file, part("file", "x")],
        "field-twice": [file, part("n_results", "3"), part("n_results", "4")],
        "unknown-field": [file, part("n_result", "3")],
        "unknown-file": [file, part("mask", good(), "mask.png")],
        "field-name-not-utf-8": [file, part("n\xff", "1")],
        "number-as-word": [file, part("n_results", "three")],
        "number-fraction": [file, part("n_results", "1.5")],
        "number-empty": [file, part("n_results", "")],
        "number-huge": [file, part("n_results", "9" * 5000)],
        "number-nan": [file, part("min_relevance", "nan")],
        "filter-not-json": [file, part("filter", "{")],
        "filter-huge-number": [file, part("filter", '{"a": ' + "9" * 5000 + "}")],
        "filter-deep": [file, part("filter", '{"not":' * 100_000 + "1" + "}" * 100_000)],
        "filter-a-list": [file, part("filter", "[]")],
        "filter-nul": [file, part("filter", b"\0")],
        "field-as-file": [file, part("n_results", "3", "x")],
    }.items():
        given.add(f"form-{name}", route, form(SEARCH, *parts), 422, INVALID, sampled=name == "two-files")
    given.add("form-no-parts", route, _raw(SEARCH, f"--{BOUNDARY}--\r\n".encode()), 422, INVALID)
    given.add("similarity-no-text", "POST /similarity", form("/similarity", file), 422, INVALID)
    given.add("similarity-empty-text", "POST /similarity", form("/similarity", file, part("text", "")), 422, INVALID)
    given.add(
        "similarity-text-is-file", "POST /similarity", form("/similarity", file, part("text", "a", "x")), 422, INVALID
    )
    long = form("/similarity", file, part("text", "x" * 10_001))
    given.add("similarity-long-text", "POST /similarity", long, 422, "text_too_long")


def _companions(given: Collector) -> None:
    """`metadata` and `ids` beside the files of an index request."""
    file = part("files", good(), "x.png")
    for name, parts in {
        "no-files": [part("ids", '["a"]')],
        "101-files": [part("files", b"x", "x")] * 101,
        "plain-field-for-file": [part("files", "x")],
        "unknown-field": [file, part("id", '"a"')],
        "ids-too-many": [file, part("ids", '["a", "b"]')],
        "ids-too-few": [file, file, part("ids", '["a"]')],
        "ids-not-a-list": [file, part("ids", '"a"')],
        "ids-not-json": [file, part("ids", "a")],
        "ids-numbers": [file, part("ids", "[5]")],
        "ids-twice": [file, part("ids", '["a"]'), part("ids", '["a"]')],
        "ids-as-file": [file, part("ids", '["a"]', "ids.json")],
        "metadata-an-object": [file, part("metadata", "{}")],
        "metadata-too-many": [file, part("metadata", "[{}, {}]")],
        "metadata-of-strings": [file, part("metadata", '["a"]')],
        "metadata-nan": [file, part("metadata", '[{"a": NaN}]')],
        "metadata-nested": [file, part("metadata", '[{"a": {"b": 1}}]')],
        "metadata-deep": [file, part("metadata", "[" * 100_000 + "]" * 100_000)],
        "metadata-values": [file, part("metadata", "[" + "[]," * 300_000 + "[]]")],
        "metadata-digits": [file, part("metadata", json.dumps([{"a": 0}]).replace("0", "9" * 5000))],
        "metadata-surrogate": [file, part("metadata", r'[{"a": "\ud800"}]')],
        "metadata-empty": [file, part("metadata", "")],
    }.items():
        given.add(
            f"index-form-{name}", f"POST {INDEX}", form(INDEX, *parts), 422, INVALID, sampled=name == "ids-too-many"
        )
