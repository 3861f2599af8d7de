"""Runs the examples of a document against a real service, and writes what they answered or checks that it still holds.

Usage: python -m tools.api_examples [docs/api.md] [--write]

An example is a fenced block of kind `bash`, and right under it one of kind `json` or `text` with what it prints. JSON is shown indented, numbers rounded to four digits; long lists of numbers and long
strings are cut, and say so. The service runs on the sample gallery with the example policies, on a port of its own; the
document's `localhost:3000` stands for it. Examples run in their order, so one can show what another has added.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tools.servers import ROOT, Server

DOCUMENT = ROOT / "docs" / "api.md"
TOLERANCE = 0.02
"""Numbers differ by so much at most between processors: the bundled model runs in bf16 where there is bf16."""

_EXAMPLE = re.compile(
    r"^```bash\n(?P<command>.*?)\n```\n\n```(?P<kind>json|text)\n(?P<answer>.*?)^```$", re.MULTILINE | re.DOTALL
)
_PLACE = "localhost:3000"
_VOLATILE = {"created_at", "request_id", "device", "precision", "version", "created"}
_NUMBERS, _CHARACTERS, _DIGITS = 4, 120, 4


@dataclass(frozen=True, slots=True)
class Example:
    """A command of the document and the answer written under it."""

    command: str
    answer: str

    def run(self, server: Server) -> str:
        """What the command prints now, as the document would show it."""
        command = self.command.replace(_PLACE, server.url.removeprefix("http://"))
        done = subprocess.run(
            ["/bin/bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        return shown(done.stdout.replace(server.url.removeprefix("http://"), _PLACE))


def examples(document: str) -> Iterator[Example]:
    """The examples of a document in their order."""
    for found in _EXAMPLE.finditer(document):
        yield Example(found["command"], found["answer"])


def written(document: str, answers: list[str]) -> str:
    """The document with other answers under its commands."""
    left = iter(answers)

    def example(found: re.Match[str]) -> str:
        answer = next(left)
        kind = "json" if answer.startswith(("{", "[")) else "text"
        return f"```bash\n{found['command']}\n```\n\n```{kind}\n{answer}```"

    return _EXAMPLE.sub(example, document)


def shown(output: str) -> str:
    """An answer as the document shows it; one that is not JSON stays as it is."""
    try:
        parsed = json.loads(output)
    except ValueError:
        return output if not output or output.endswith("\n") else f"{output}\n"
    return json.dumps(_cut(parsed), indent=2, ensure_ascii=False) + "\n"


def differences(expected: str, found: str) -> list[str]:
    """Where two shown answers differ by more than time, request and rounding; empty if nowhere."""
    try:
        return list(_compare(json.loads(expected), json.loads(found), "$"))
    except ValueError:
        return [] if expected == found else [f"{expected!r} is written, {found!r} came"]


def serve(folder: Path) -> Server:
    """A service on the sample gallery, with everything switched on that the examples ask for."""
    server = Server(folder, SAMPLES=str(ROOT / "samples"), POLICIES=str(ROOT / "samples" / "policies.yaml"))
    server.wait_until_ready()
    return server


def _cut(value: Any) -> Any:
    match value:
        case dict():
            return {name: _cut(each) for name, each in value.items()}
        case list() if len(value) > _NUMBERS and all(isinstance(each, float) for each in value):
            return [*map(_cut, value[: _NUMBERS - 1]), f"... {len(value) - _NUMBERS + 1} more"]
        case list():
            return [_cut(each) for each in value]
        case str() if len(value) > _CHARACTERS and " " not in value:
            return f"{value[:_CHARACTERS]}... {len(value) - _CHARACTERS} more"
        case float():
            return round(value, _DIGITS)
    return value


def _compare(expected: Any, found: Any, place: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted({*expected, *found} - _VOLATILE):
            if (name in expected) != (name in found):
                yield f"{place}.{name} is {'missing' if name in expected else 'new'}"
            else:
                yield from _compare(expected[name], found[name], f"{place}.{name}")
    elif isinstance(expected, list) and isinstance(found, list):
        for number, (one, other) in enumerate(zip_longest(expected, found)):
            yield from _compare(one, other, f"{place}[{number}]")
    elif isinstance(expected, float) or isinstance(found, float):
        numbers = isinstance(expected, int | float) and isinstance(found, int | float)
        if not numbers or abs(expected - found) > TOLERANCE:
            yield f"{place}: {expected} is written, {found} came"
    elif expected != found and not (isinstance(expected, str) and "... " in expected and " more" in expected):
        yield f"{place}: {expected!r} is written, {found!r} came"


def main() -> int:
    """Reads the command line, runs, writes or checks; 1 where an answer does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path, nargs="?", default=DOCUMENT)
    parser.add_argument("--write", action="store_true", help="write the answers into the document")
    options = parser.parse_args()
    document = options.document.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        server = serve(Path(folder))
        try:
            known = list(examples(document))
            answers = [example.run(server) for example in known]
        finally:
            server.stop()
    if options.write:
        options.document.write_text(written(document, answers), encoding="utf-8")
        return 0
    wrong = [
        f"{example.command}: {fault}"
        for example, answer in zip(known, answers, strict=True)
        for fault in differences(example.answer, answer)
    ]
    print("\n".join(wrong) or f"{len(known)} examples hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
