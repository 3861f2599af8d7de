"""Builds bentos for tests, each from a tree and into a store of its own, and reads the Dockerfile of one."""

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tools.servers import ROOT

BUILD_SECONDS = 240
DOCKERFILE = "src/deploy/Dockerfile"


def tracked() -> list[str]:
    """The files of the project, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def copy_tree(target: Path) -> Path:
    """A copy of the project in ``target``, as a fresh clone would be, less the pictures of tests and samples."""
    for name in tracked():
        if not name.startswith(("samples/", "tests/", "docs/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def uv() -> str:
    """The program that installs: one that is on the path, or the project's own, as in the Makefile."""
    found = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    assert Path(found).is_file()
    return found


def build_bento(home: Path, *arguments: str, tree: Path = ROOT, **variables: str) -> Path:
    """Run `python -m tools.bento` in ``tree``, with no other settings than ``variables``; the folder of the bento."""
    home.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CROSSMODAL_", "BENTOML_"))}
    path = f"{Path(uv()).parent}:{os.environ['PATH']}"  # BentoML asks for uv, whether it uses it or not
    own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PATH": path}
    built = subprocess.run(
        [sys.executable, "-m", "tools.bento", *arguments],
        cwd=tree,
        env=kept | own | variables,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (bento,) = (home / "bentos" / "cross_modal_search").glob("*/")
    return bento


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``, by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass(frozen=True, slots=True)
class Instruction:
    """A line of a Dockerfile, with those that continue it."""

    name: str
    words: str


def read_dockerfile(content: str) -> list[Instruction]:
    """The instructions of a Dockerfile, comments left out."""
    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    split = (line.strip().partition(" ") for line in joined)
    return [Instruction(name.upper(), words.strip()) for name, _, words in split]


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    """What follows the last FROM, with it."""
    begins = max(place for place, each in enumerate(instructions) if each.name == "FROM")
    return instructions[begins:]


def environment_of(instructions: list[Instruction]) -> dict[str, str]:
    """The variables that an image has."""
    words = (word for each in instructions if each.name == "ENV" for word in shlex.split(each.words))
    return {name: value for name, _, value in (word.partition("=") for word in words)}
