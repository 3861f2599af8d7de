"""What to index, read from files: folders of pictures and files of texts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossmodal.errors import ClientError, ConfigurationError, ValidationFailed
from crossmodal.records import Metadata
from crossmodal.search.indexing import Submission
from crossmodal.store.metadata import check_metadata

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
"""Files of other names are passed over; what a file really is, its content decides."""

SIDECAR = "metadata.jsonl"
"""One JSON object a line with `file_name` and metadata, as in Hugging Face's image folders."""


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to index: ``name`` for messages, and the submission or the file that holds its content."""

    name: str
    submission: Submission
    path: Path | None = None

    def load(self) -> Submission:
        """The submission with its content read from the file, if it is in one."""
        if self.path is None or self.submission.fault is not None:
            return self.submission
        try:
            content = self.path.read_bytes()
        except OSError as error:
            return Submission(fault=ValidationFailed(f"the file cannot be read: {error.strerror}"))
        return replace(self.submission, content=content)


def scan_pictures(folder: Path) -> list[Source]:
    """Every picture below ``folder``, by path, with metadata from the sidecars; a new item without gets its `path`.

    Raises ``ConfigurationError`` if the folder does not exist or a sidecar cannot be read.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder")
    sidecars = {path.parent: _sidecar(path) for path in sorted(folder.rglob(SIDECAR))}
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    return [_picture(path, folder, sidecars) for path in files]


def _picture(path: Path, folder: Path, sidecars: Mapping[Path, Mapping[str, Metadata]]) -> Source:
    name = path.relative_to(folder).as_posix()
    for parent in path.parents:
        found = sidecars.get(parent, {}).get(path.relative_to(parent).as_posix())
        if found is not None:
            return Source(name, Submission(metadata=found), path)
        if parent == folder:
            break
    return Source(name, Submission(new_item_metadata={"path": name}), path)


def _sidecar(path: Path) -> dict[str, Metadata]:
    entries: dict[str, Metadata] = {}
    for number, values in json_lines(path):
        if not isinstance(values, dict) or not isinstance(values.get("file_name"), str):
            raise ConfigurationError(f"{path.name}, line {number}: an object with a string 'file_name' is needed")
        name = values.pop("file_name")
        try:
            entries[name] = check_metadata(values)
        except ValidationFailed as error:
            raise ConfigurationError(f"{path.name}, line {number}: {error.detail}") from error
    return entries


def scan_texts(file: Path) -> list[Source]:
    """Texts of a file: `.jsonl` holds strings or objects with `text`, `id` and `metadata`, others a text a line.

    A bad line fails alone. Raises ``ConfigurationError`` if the file cannot be read or is not UTF-8.
    """
    if not file.is_file():
        raise ConfigurationError(f"{file} is not a file")
    read = _text_of_json if file.suffix == ".jsonl" else _text
    return [Source(f"{file.name}:{number}", read(line)) for number, line in lines_of(file)]


def _text_of_json(line: str) -> Submission:
    try:
        return _text(json.loads(line))
    except ValueError as error:
        return Submission(fault=ValidationFailed(f"not valid JSON: {error}"))


def _text(value: Any) -> Submission:
    try:
        if isinstance(value, str):
            return Submission(value.encode())
        if (
            not isinstance(value, dict)
            or not isinstance(value.get("text"), str)
            or set(value) - {"text", "id", "metadata"}
        ):
            raise ValidationFailed("a string or an object with 'text', 'id' and 'metadata' is needed")
        metadata = value.get("metadata")
        item_id = value.get("id")
        if item_id is not None and not isinstance(item_id, str):
            raise ValidationFailed("the id must be a string")
        return Submission(value["text"].encode(), item_id, None if metadata is None else check_metadata(metadata))
    except ClientError as fault:
        return Submission(fault=fault)
    except UnicodeEncodeError:
        return Submission(fault=ValidationFailed("the text holds half of a surrogate pair, which is no character"))


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Each line's number, from 1, and JSON; empty lines are left out. Raises ``ConfigurationError``."""
    for number, line in lines_of(path):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{path.name}, line {number}: not valid JSON: {error}") from error


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Lines that hold something, numbered from 1; ended by line feeds alone, since texts may hold other separators."""
    lines = ((number, line.removesuffix("\r")) for number, line in enumerate(_read(path).split("\n"), 1))
    return [(number, line) for number, line in lines if line.strip()]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path.name} is not UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error.strerror}") from error
