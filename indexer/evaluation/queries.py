"""Queries with what they should find, read from a file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodal.errors import ClientError, ConfigurationError, ValidationFailed
from crossmodal.records import Modality
from indexer.evaluation.files import FaultList, member, path_of, records, text_of

_MEMBERS = {"query", "relevant", "target"}


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A text, or the file of a picture, and ``grades``: how relevant which ids of ``target`` are, each above 0."""

    content: str | Path
    target: Modality
    grades: Mapping[str, float]

    @property
    def modality(self) -> Modality:
        """What the query itself is."""
        return Modality.TEXT if isinstance(self.content, str) else Modality.IMAGE

    @property
    def direction(self) -> str:
        """From what to what, as in `text-to-image`."""
        return f"{self.modality}-to-{self.target}"


def read_queries(file: Path, *, images: Path | None, max_chars: int) -> list[LabelledQuery]:
    """Queries of a `.jsonl` file; pictures by their path from ``images`` on, or else from the file's folder.

    A line has `query`, a text or `{"image": path}`; `relevant`, a list of ids or an object from id to grade; and
    optionally `target`, `image` or `text`: what is searched, the other modality unless it says so. Raises ``FileFaults``
    naming every line that is not so, ``ConfigurationError`` if the file cannot be read or holds no query.
    """
    if file.suffix != ".jsonl":
        raise ConfigurationError(f"{file.name} is not .jsonl")
    faults = FaultList(file)
    folder = file.parent if images is None else images
    queries: list[LabelledQuery] = []
    for number, record in records(file, faults):
        try:
            queries.append(_query(record, folder, max_chars))
        except ClientError as fault:
            faults.add(number, fault.detail)
    faults.check()
    if not queries:
        raise ConfigurationError(f"{file.name} holds no query")
    return queries


def _query(record: dict[str, Any], folder: Path, max_chars: int) -> LabelledQuery:
    if unknown := sorted(set(record) - _MEMBERS):
        raise ValidationFailed(f"{unknown[0]!r} is not known; 'query', 'relevant' and 'target' are")
    asked = member(record, "query")
    if isinstance(asked, dict):
        content: str | Path = path_of(member(asked, "image"), "the image", folder)
    else:
        content = text_of(asked, "the query", max_chars)
    other = Modality.TEXT if isinstance(content, Path) else Modality.IMAGE
    target = record.get("target", other.value)
    if target not in tuple(Modality):
        raise ValidationFailed("'target' is 'image' or 'text'")
    return LabelledQuery(content, Modality(target), _grades(member(record, "relevant")))


def _grades(relevant: Any) -> dict[str, float]:
    if isinstance(relevant, list):
        if not all(isinstance(each, str) for each in relevant):
            raise ValidationFailed("'relevant' is a list of ids, which are strings, or an object from id to grade")
        relevant = dict.fromkeys(relevant, 1)
    if not isinstance(relevant, dict):
        raise ValidationFailed("'relevant' is a list of ids or an object from id to grade")
    for item_id, grade in relevant.items():
        if isinstance(grade, bool) or not isinstance(grade, int | float) or not _is_grade(grade):
            raise ValidationFailed(f"the grade of {item_id[:40]!r} must be a number of at least 0")
    grades = {item_id: float(grade) for item_id, grade in relevant.items() if grade > 0}
    if not grades:
        raise ValidationFailed("no id is relevant: there is nothing that could be found")
    return grades


def _is_grade(number: float) -> bool:
    try:
        return math.isfinite(number) and number >= 0
    except OverflowError:  # an integer beyond all floats
        return False
