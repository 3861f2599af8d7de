import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crossmodal.records import Preprocessing
from crossmodal.settings import Settings
from indexer.cli import app
from indexer.exporting import read_pictures, read_texts
from indexer.sources import scan_pictures, scan_texts
from tools.servers import ROOT

GALLERY = ROOT / "samples" / "images"
PREPROCESSING = Preprocessing(32, "bicubic", "shortest", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", "--model", "tiny", *arguments])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures, one of them twice and two with captions, and one that cannot be read."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, path in enumerate(sorted(GALLERY.glob("*.webp"))[:3]):
        shutil.copy(path, folder / f"{number}.webp")
    shutil.copy(folder / "0.webp", folder / "again.webp")
    (folder / "broken.webp").write_bytes((folder / "0.webp").read_bytes()[:200])
    lines: list[dict[str, object]] = [{"file_name": "0.webp", "caption": "one"}, {"file_name": "1.webp", "text": "two"}]
    lines += [{"file_name": "again.webp", "caption": "one"}, {"file_name": "2.webp", "caption": 3}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.mark.parametrize(
    "arguments", [["--int8"], ["--int8", "--pictures", str(GALLERY)], ["--int8", "--texts", str(ROOT / "README.md")]]
)
def test_int8_says_what_it_needs(arguments: list[str]) -> None:
    outcome = export(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stderr == (
        "indexer: --int8 needs --pictures FOLDER and --texts FILE, 64 of each or more, better 600, like those that will "
        "be searched\n"
    )


@pytest.mark.parametrize("arguments", [["--pictures", str(GALLERY)], ["--texts", "x"], ["--accept-quality"]])
def test_what_goes_with_int8_alone_is_refused(arguments: list[str]) -> None:
    outcome = export(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stderr == "indexer: --pictures, --texts and --accept-quality go with --int8\n"


@pytest.mark.parametrize(
    ("pictures", "texts", "reason"),
    [
        ("nowhere", "README.md", "is not a folder"),
        ("samples", "nowhere", "is not a file"),
        ("models", "README.md", "half of them calibrate, half of them judge; there are 0."),
        ("samples", "requirements/uv.in", "half of them calibrate, half of them judge; there are 1."),
    ],
)
def test_samples_that_are_not_there_are_said_before_the_model_is_loaded(pictures: str, texts: str, reason: str) -> None:
    outcome = export("--int8", "--pictures", str(ROOT / pictures), "--texts", str(ROOT / texts))
    assert outcome.exit_code == 2
    assert outcome.stderr.splitlines()[-1].endswith(reason)


def test_pictures_are_different_ones_with_their_captions(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels, captions = read_pictures(Settings(), scan_pictures(pictures), PREPROCESSING, 10)
    assert pixels.shape == (3, 32, 32, 3)
    assert captions == ["one", "two", ""]
    head, same, broken = capsys.readouterr().err.splitlines()
    assert (head, same) == ("left out: 2 of 5 pictures", "  again.webp: the same picture as 0.webp")
    assert broken.startswith("  broken.webp: The picture begins like WEBP but")
    assert read_pictures(Settings(), scan_pictures(pictures), PREPROCESSING, 2)[1] == ["one", "two"]


def test_a_folder_without_pictures_gives_none(tmp_path: Path) -> None:
    pixels, captions = read_pictures(Settings(), scan_pictures(tmp_path), PREPROCESSING, 10)
    assert (pixels.shape, captions) == ((0, 32, 32, 3), [])


def test_texts_are_different_ones_that_the_service_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.jsonl"
    lines = ['"one"', '{"text": "two", "metadata": {"a": 1}}', '"one"', "{", '"%s"' % ("x" * 99), '" "', '"three"']
    file.write_text("\n".join(lines))
    assert read_texts(scan_texts(file), 50) == ["one", "two", "three"]
    assert capsys.readouterr().err.splitlines() == [
        "left out: 4 of 7 texts",
        "  texts.jsonl:3: the same text as texts.jsonl:1",
        "  texts.jsonl:4: not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "  texts.jsonl:5: the text has 99 characters; at most 50 are allowed",
        "  texts.jsonl:6: the text is empty; say what to look for",
    ]
    file.write_text("\n".join([lines[0], lines[-1]]))
    assert read_texts(scan_texts(file), 50) == ["one", "three"]
    assert capsys.readouterr().err == ""


def test_too_few_usable_texts_are_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join([*map(str, range(63)), *["7"] * 20]))
    outcome = export("--int8", "--pictures", str(GALLERY), "--texts", str(file))
    assert outcome.exit_code == 2
    *said, refused = outcome.stderr.splitlines()
    assert said == [
        "left out: 20 of 83 texts",
        *(f"  texts.txt:{number}: the same text as texts.txt:8" for number in range(64, 69)),
        "  and 15 more",
    ]
    assert refused.startswith("indexer: int8 needs 64 different texts that can be read")
    assert refused.endswith("half of them judge; there are 63.")
