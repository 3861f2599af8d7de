"""The examples of docs/api.md and the README, run against the demo; and whether a wrong one would be noticed."""

from pathlib import Path

import pytest

from tools.api_examples import DOCUMENT, differences, examples, serve, shown, written
from tools.servers import ROOT

KNOWN = list(examples(DOCUMENT.read_text(encoding="utf-8")))
README = list(examples((ROOT / "README.md").read_text(encoding="utf-8")))


def test_every_example_holds(tmp_path: Path) -> None:
    server = serve(tmp_path)
    try:
        wrong = {example.command: differences(example.answer, example.run(server)) for example in (*KNOWN, *README)}
    finally:
        server.stop()
    assert len(README) == 2
    assert {command: faults for command, faults in wrong.items() if faults} == {}


def test_there_is_one_for_each_route() -> None:
    commands = "\n".join(example.command for example in KNOWN)
    for route in (
        "/index/images", "/index/texts", "/search/text-to-image", "/search/image-to-text", "/search/similar-images",
        "/search/similar-texts", "/search ", "/recommend", "/similarity", "/classify", "/moderate", "/describe",
        "/duplicates", "/embed/texts", "/embed/images", "/v1/embeddings", "/v1/models", "/items/text/", "/items/text?",
        "/images/", "/thumbnail", "DELETE", "/stats", "/readyz",
    ):  # fmt: skip
        assert route in commands


@pytest.mark.parametrize(
    ("expected", "found", "fault"),
    [
        ('{"a": 0.5}', '{"a": 0.53}', "$.a: 0.5 is written, 0.53 came"),
        ('{"a": 0.5}', '{"a": "x"}', "$.a: 0.5 is written, x came"),
        ('{"a": ["x"]}', '{"a": ["y"]}', "$.a[0]: 'x' is written, 'y' came"),
        ('{"a": ["x"]}', '{"a": []}', "$.a[0]: 'x' is written, None came"),
        ('{"a": 1}', "{}", "$.a is missing"),
        ("{}", '{"a": 1}', "$.a is new"),
        ('{"a": 1}', '{"a": 2}', "$.a: 1 is written, 2 came"),
        ("200 image/webp\n", "404 x\n", "'200 image/webp\\n' is written, '404 x\\n' came"),
    ],
)
def test_what_does_not_hold_is_told(expected: str, found: str, fault: str) -> None:
    assert differences(expected, found) == [fault]


def test_times_and_roundings_do_not_count() -> None:
    assert differences('{"a": 0.5, "created_at": "x"}', '{"a": 0.51, "created_at": "y"}') == []
    long = shown('{"v": [0.123456, 0.2, 0.3, 0.4, 0.5], "b": "' + "A" * 200 + '"}')
    assert '"... 2 more"' in long
    assert "... 80 more" in long
    assert differences(long, long) == []


def test_answers_are_written_under_their_commands() -> None:
    document = "x\n```bash\none \\\n  two\n```\n\n```text\nold\n```\ny\n```bash\nnot an example\n```\n"
    assert [example.command for example in examples(document)] == ["one \\\n  two"]
    assert written(document, ["new\n"]) == document.replace("old", "new")
    assert "```json\n{}\n```" in written(document, ["{}\n"])
