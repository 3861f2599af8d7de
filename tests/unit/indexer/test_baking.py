import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from indexer.cli import app

COMMAND = ["bake", "--model", "tiny"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def bake(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*COMMAND, *arguments])


def test_the_bundled_model_is_baked(tmp_path: Path) -> None:
    folder = tmp_path / "baked"
    outcome = bake("--out", str(folder))
    assert outcome.exit_code == 0, outcome.stderr
    manifest = json.loads((folder / "baked_model.json").read_text())
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"baked_model.json"}
    assert {"calibration.json", "open_clip_model.safetensors"} <= set(manifest["files"])
    assert outcome.stdout.splitlines() == [f"tiny, fingerprint {manifest['fingerprint']}", str(folder)]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--form", "onnx"], "--form is weights, export or both; 'onnx' was given"),
        (["--revision", COMMIT], f"Model tiny: a folder has no revisions; '{COMMIT}' was asked for."),
        (["--revision", "main"], "the revision is a commit, 40 hex digits in lower case; 4 characters came: 'main'"),
        (["--sha256", "x" * 90], f"a SHA-256 is 64 hex digits; 90 characters came: '{'x' * 80}...'"),
        (["--sha256", "0" * 63 + "\n"], f"a SHA-256 is 64 hex digits; 64 characters came: '{'0' * 63}\\n'"),
    ],
)
def test_what_cannot_be_baked_is_said_in_one_line(tmp_path: Path, arguments: list[str], reason: str) -> None:
    outcome = bake("--out", str(tmp_path / "baked"), *arguments)
    assert outcome.exit_code == 2
    assert outcome.stderr == f"indexer: {reason}\n"
    assert list(tmp_path.iterdir()) == []
