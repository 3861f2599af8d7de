"""What `python -m tools.bento` refuses, and the packages of a slim bento."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.bento.building import build_bento
from tools.servers import ROOT

WITHOUT = {"torch", "torchvision", "open_clip_torch", "safetensors"}
"""What is imported for PyTorch's models alone."""


def refused(tmp_path: Path, *arguments: str) -> str:
    """What the last line says when nothing is built."""
    told = subprocess.run(
        [sys.executable, "-m", "tools.bento", *arguments],
        cwd=ROOT,
        env=os.environ | {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 2
    assert not list(tmp_path.glob("bentos/*/*"))
    return told.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--slim"], "--slim needs --model"),
        (
            ["--slim", "--model", "tiny", "--form", "weights"],
            "--slim takes the export of the model: there is no PyTorch for --form weights",
        ),
        (["--version", "../x"], "--version is 1 to 63 letters, digits, '.', '_' and '-', the first and the last"),
        (["--model", "tiny", "--revision", "main"], "a commit, 40 hex digits in lower case; 4 characters came: 'main'"),
        (["--model", "tiny", "--sha256", "abc"], "a SHA-256 is 64 hex digits; 3 characters came: 'abc'"),
        (["--revision", "main"], "are of the model that --model names"),
        pytest.param(
            ["--model", "local-dir:nowhere"],
            "indexer: Model local-dir:nowhere: there is no folder nowhere.",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(tmp_path: Path, arguments: list[str], reason: str) -> None:
    assert reason in refused(tmp_path, *arguments)
    assert not list((ROOT / "build").glob("bento-*/models"))


def test_a_version_is_what_bentoml_takes_as_one() -> None:
    versions = [
        "1",
        "0.1.0",
        "v1.2_rc-3",
        "1" * 63,
        "../x",
        "",
        "1.0-",
        ".1",
        "1" * 64,
        "1 2",
        "1\n",
        "1;2",
        "latest",
        "é",
    ]
    says = (
        "import json, sys\n"
        "from tools.bento import VERSION\n"
        "print(json.dumps([each for each in json.loads(sys.argv[1]) if VERSION.fullmatch(each)]))"
    )
    command = [sys.executable, "-c", says, json.dumps(versions)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(shown.stdout) == versions[:4]


@pytest.mark.slow
def test_settings_decide_which_services_a_bento_has(tmp_path: Path) -> None:
    bento = build_bento(tmp_path / "home", CROSSMODAL_ENCODER="service", CROSSMODAL_TIMEOUT="45")
    services = yaml.safe_load((bento / "bento.yaml").read_text())["services"]
    assert sorted(each["name"] for each in services) == ["CrossModalSearch", "Encoder"]
    assert {each["config"]["traffic"]["timeout"] for each in services} == {45 + 30}


def names(path: Path) -> list[str]:
    """The packages that a requirements file names itself."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [found[0].lower() for line in lines if (found := re.match(r"[A-Za-z][\w.-]*", line))]


def locked(path: Path) -> dict[str, set[str]]:
    """Each pinned package with its hashes."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    found = (re.match(r"([\w.-]+==\S+)", line) for line in lines)
    return {each[1]: set(re.findall(r"sha256:\w+", each.string)) for each in found if each}


def test_a_slim_bento_has_all_but_pytorch_in_the_same_versions() -> None:
    requirements = ROOT / "requirements"
    assert set(names(requirements / "slim.in")) == set(names(requirements / "runtime.in")) - WITHOUT
    slim, whole = (locked(requirements / f"{name}.txt") for name in ("slim", "runtime"))
    assert slim.items() <= whole.items()
    left_out = {package.partition("==")[0] for package in whole.keys() - slim.keys()}
    assert {"torch", "torchvision", "open-clip-torch", "triton", "nvidia-cublas"} <= left_out
