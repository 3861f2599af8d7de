import json
from pathlib import Path

import pytest

from crossmodal.errors import ConfigurationError
from indexer.sources import scan_pictures, scan_texts


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_pictures_are_found_below_the_folder_with_their_metadata(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "sub/c.webp", "sub/notes.txt", "sub/metadata.jsonl.bak"):
        write(tmp_path / name, name)
    lines = [{"file_name": "a.jpg", "caption": "A", "n": 1}, {"file_name": "sub/c.webp", "caption": "from above"}]
    write(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    sources = scan_pictures(tmp_path)
    assert [source.name for source in sources] == ["a.jpg", "b.PNG", "sub/c.webp"]
    assert [source.submission.metadata for source in sources] == [
        {"caption": "A", "n": 1},
        None,
        {"caption": "from above"},
    ]
    assert sources[1].submission.new_item_metadata == {"path": "b.PNG"}
    assert sources[2].load().content == b"sub/c.webp"


def test_the_nearest_sidecar_wins(tmp_path: Path) -> None:
    write(tmp_path / "sub/c.webp", b"x")
    write(tmp_path / "metadata.jsonl", json.dumps({"file_name": "sub/c.webp", "from": "above"}))
    write(tmp_path / "sub/metadata.jsonl", json.dumps({"file_name": "c.webp", "from": "beside"}))
    (source,) = scan_pictures(tmp_path)
    assert source.submission.metadata == {"from": "beside"}


def test_a_file_that_went_away_fails_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", b"x")
    (source,) = scan_pictures(tmp_path)
    path.unlink()
    fault = source.load().fault
    assert fault is not None
    assert fault.detail == "the file cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 1: not valid JSON"),
        ('{"caption": "x"}', "line 1: an object with a string 'file_name' is needed"),
        ('{"file_name": "a.jpg", "deep": {"a": 1}}', "line 1: "),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_bad_sidecar_is_named_with_its_line(tmp_path: Path, line: str | bytes, reason: str) -> None:
    write(tmp_path / "metadata.jsonl", line)
    with pytest.raises(ConfigurationError, match=reason):
        scan_pictures(tmp_path)


def test_missing_folders_and_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder"):
        scan_pictures(tmp_path / "none")
    with pytest.raises(ConfigurationError, match="is not a file"):
        scan_texts(tmp_path / "none")


def test_plain_texts_are_lines(tmp_path: Path) -> None:
    sources = scan_texts(write(tmp_path / "t.txt", "one\r\n\n  \nzwei ü\n"))
    assert [(source.name, source.load().content) for source in sources] == [
        ("t.txt:1", b"one"),
        ("t.txt:4", "zwei ü".encode()),
    ]


def test_json_lines_carry_ids_and_metadata_and_fail_alone(tmp_path: Path) -> None:
    lines = [
        '"just text"',
        '{"text": "with id", "id": "t1", "metadata": {"k": [1, 2]}}',
        "5",
        '{"text": "x", "unknown": 1}',
        '{"text": "x", "id": 5}',
        '{"text": "x", "metadata": {"deep": {}}}',
        '"\\ud800"',
        "{broken",
        '{"text": ""',
    ]
    submissions = [source.load() for source in scan_texts(write(tmp_path / "t.jsonl", "\n".join(lines)))]
    assert [(each.content, each.id, each.metadata) for each in submissions[:2]] == [
        (b"just text", None, None),
        (b"with id", "t1", {"k": [1, 2]}),
    ]
    assert all(each.fault is not None for each in submissions[2:])
