"""What is given to make reaches a program as one word, and nothing in it is run: recipes with programs that note their words."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.servers import ROOT

NOTING = "#!/bin/sh\nprintf '%s\\n' \"$@\" >> noted\n"
STAMPS = (".venv/.runtime", ".venv/.int8", ".venv/.dev")
HARM = ["a; touch harm", "a $$(touch harm)", "`touch harm`", "a'; touch harm; '", 'a" && touch harm #', "a\ntouch harm"]
"""Values as make reads them, which takes two dollar signs for one."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with our Makefile, in which all is installed that it asks for."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    for name in ("uv", "runtime", "int8", "dev"):
        (tmp_path / "requirements").mkdir(exist_ok=True)
        (tmp_path / "requirements" / f"{name}.txt").touch()
    programs = (".uv/bin/uv", ".venv/bin/python", ".venv/bin/bentoml", "tools/system_packages.sh", "engine")
    for program in programs:
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text(NOTING)
        (tmp_path / program).chmod(0o755)
    (tmp_path / "tools/system_packages.sh").write_text("#!/bin/sh\n")
    for stamp in STAMPS:
        (tmp_path / stamp).touch()
    return tmp_path


def words(tree: Path, target: str, *given: str) -> list[str]:
    """The words that make's program got; none where make or the shell refused to run it."""
    command, path = ["make", "--silent", target, *given], {"PATH": os.environ["PATH"]}
    subprocess.run(command, cwd=tree, env=path, capture_output=True, timeout=60, check=False)
    assert not (tree / "harm").exists()
    noted = tree / "noted"
    return noted.read_text().splitlines() if noted.exists() else []


@pytest.mark.parametrize(
    ("target", "given", "expected"),
    [
        ("loadtest", ["MIX=a b", "FOR=5"], ["run", "--mix", "a b", "--seconds", "5"]),
        ("plan", ["RATE=5", "SERVICE=4 2"], ["plan", "--rate", "5", "--service-ms", "4 2"]),
        ("autoscale", ["PHASES=1x5 2x5:kill"], ["autoscale", "--phases", "1x5 2x5:kill"]),
        ("knee", [], ["knee"]),
    ],
)
def test_a_value_is_one_word_and_none_where_there_is_none(
    tree: Path, target: str, given: list[str], expected: list[str]
) -> None:
    assert words(tree, target, *given) == ["-m", "loadtests", *expected]


@pytest.mark.parametrize("value", HARM)
@pytest.mark.parametrize(
    ("target", "variables"),
    [
        ("loadtest", ["MIX", "SHAPE", "FOR", "USERS", "URL"]),
        ("autoscale", ["PHASES", "RATE", "SPEED"]),
        ("plan", ["RATE", "SERVICE", "BATCH", "PRICE"]),
        ("bento", ["MODEL", "FORM", "REVISION", "SHA256", "VERSION"]),
        ("export", ["MODEL", "OUT", "INT8", "PICTURES", "TEXTS"]),
        ("serve", ["HOST", "PORT", "DATA"]),
        ("demo", ["HOST", "PORT", "DATA"]),
        ("bench-gpu", ["ARCH"]),
        ("test-faults", ["AGAIN"]),
    ],
)
def test_nothing_in_a_value_is_run(tree: Path, target: str, variables: list[str], value: str) -> None:
    found = words(tree, target, *(f"{name}={value}" for name in variables))
    if "\n" not in value and target not in {"serve", "demo", "test-faults"}:
        assert found.count(value.replace("$$", "$")) == len(set(variables) - {"INT8"})


def test_an_image_is_built_of_a_folder_with_spaces(tree: Path) -> None:
    given = ("ENGINE=./engine", "BENTO=my bento; touch harm", "IMAGE=a b:`touch harm`")
    bento, image = (each.partition("=")[2] for each in given[1:])
    assert words(tree, "image", *given) == ["build", "--file", f"{bento}/src/deploy/Dockerfile", "--tag", image, bento]


@pytest.mark.parametrize("data", ["my data", "/{tree}/my data"])
def test_data_may_have_spaces_in_its_path(tree: Path, data: str) -> None:
    given = data.format(tree=str(tree).lstrip("/"))
    assert words(tree, "serve", f"DATA={given}")[:2] == ["serve", "service:CrossModalSearch"]
    assert (tree / "my data" / "bentoml").is_dir()
