"""Files of an evaluation: every line is looked at, and every fault is told, before anything is measured."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crossmodal.errors import ClientError, ConfigurationError, ValidationFailed
from crossmodal.search.texts import check_text, is_encodable
from indexer.sources import lines_of

MAX_TOLD = 50
"""Faults of a file that are told one by one."""


class FileFaults(ConfigurationError):
    """A file cannot be used; ``lines`` says why, a line for each fault."""

    def __init__(self, lines: Sequence[str]) -> None:
        left = len(lines) - MAX_TOLD
        self.lines = [*lines[:MAX_TOLD], *([f"and {left} more faults"] if left > 0 else [])]
        super().__init__("\n".join(self.lines))


class FaultList:
    """Gathers the faults of ``file`` by line; ``check`` at the end raises them together."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: list[str] = []

    def add(self, number: int, detail: str) -> None:
        """Note what is wrong with line ``number``, counted from 1."""
        self._found.append(f"{self._file.name}, line {number}: {detail}")

    def check(self) -> None:
        """Raise ``FileFaults`` if anything was wrong."""
        if self._found:
            raise FileFaults(self._found)


def records(file: Path, faults: FaultList) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of a `.jsonl` file as objects, or rows of a `.csv` file by its header, each with its number.

    Raises ``ConfigurationError`` for a file that cannot be read, is not UTF-8, or is of neither kind.
    """
    if not file.is_file():
        raise ConfigurationError(f"{file} is not a file")
    if file.suffix == ".csv":
        yield from _rows(file, faults)
    elif file.suffix == ".jsonl":
        yield from _objects(file, faults)
    else:
        raise ConfigurationError(f"{file.name} is neither .jsonl nor .csv")


def _objects(file: Path, faults: FaultList) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines_of(file):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            faults.add(number, f"not valid JSON: {error}")
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            faults.add(number, "an object is needed")


def _rows(file: Path, faults: FaultList) -> Iterator[tuple[int, dict[str, Any]]]:
    # Numbers count lines, as an editor does; a quoted field may hold several.
    reader = csv.reader(io.StringIO("\n".join(_physical_lines(file)), newline=""), strict=True)
    header: list[str] = []
    try:
        for row in reader:
            if not header:
                header = [name.strip().removeprefix("\ufeff") for name in row]
            elif row and len(row) != len(header):
                faults.add(reader.line_num, f"{len(row)} fields, but the header names {len(header)}")
            elif row:
                yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        faults.add(reader.line_num, f"not valid CSV: {error}")


def _physical_lines(file: Path) -> list[str]:
    """All lines, those between that hold nothing too."""
    numbered = dict(lines_of(file))
    return [numbered.get(number, "") for number in range(1, max(numbered, default=0) + 1)]


def member(record: dict[str, Any], *names: str) -> Any:
    """The one of the members ``names`` that ``record`` has. Raises ``ValidationFailed`` if it has none or several."""
    given = [name for name in names if name in record]
    if len(given) != 1:
        named = " or ".join(repr(name) for name in names)
        raise ValidationFailed(f"{named} is needed" if not given else f"only one of {named} is allowed")
    return record[given[0]]


def text_of(value: Any, what: str, max_chars: int) -> str:
    """``value`` if it is a text the service would take. Raises ``ValidationFailed`` or ``TextTooLong``."""
    if not isinstance(value, str):
        raise ValidationFailed(f"{what} must be a string")
    try:
        return check_text(value, max_chars=max_chars)
    except ClientError as fault:
        raise type(fault)(f"{what}: {fault.detail}") from None


def path_of(value: Any, what: str, folder: Path) -> Path:
    """The file that ``value`` names, from ``folder`` on. Raises ``ValidationFailed`` for what cannot name one."""
    if not isinstance(value, str) or not value.strip() or "\0" in value or not is_encodable(value):
        raise ValidationFailed(f"{what} must be the path of a file")
    return folder / value
