"""Builds the bento out of a copy of the files that bentofile.yaml includes, with a model baked in where one is named.

Usage: python -m tools.bento [--model SPEC] [--form weights|export|both] [--revision COMMIT] [--sha256 DIGEST] [--slim]
                             [--version VERSION]

`make bento` calls it. `--slim` leaves PyTorch out, which an exported model does not need. What is set in the environment does
not get in, but for the settings that decide which services there are.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml
from bentoml._internal.bento.build_config import BentoPathSpec

from crossmodal.clip.baked import Form, Recipe, check_baked, read_baked
from crossmodal.clip.spec import BAKED, LocalFolder
from crossmodal.errors import ConfigurationError

ROOT: Final = Path(__file__).resolve().parents[1]
BENTOFILE: Final = "bentofile.yaml"
DEFAULT_HOME: Final = "~/bentoml"

SHAPING: Final = (
    "ENCODER", "ENCODER_URL", "BATCHER", "API_WORKERS", "ENCODER_WORKERS", "STORE", "TIMEOUT",
    "MAX_BATCH_IMAGES", "MAX_BATCH_TEXTS",
)  # fmt: skip
"""Settings by which `service.py` decides which services there are and what BentoML notes of them."""

VERSION: Final = re.compile(r"(?!latest$)[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
"""What BentoML takes as a version, other than its name for the newest one."""

_OTHER: Final = {"data", "build", "tests", "samples", f"models/{BAKED}"}
"""Folders of which nothing is taken, not looked through: they may be large, or left from something else."""


def included(tree: Path, include: list[str], exclude: list[str]) -> Iterator[Path]:
    """Paths, relative to ``tree``, of the files that BentoML would take."""
    wanted = BentoPathSpec(include, exclude, str(tree / "crossmodal"))  # where it looks for files that leave out more
    for folder, folders, files in os.walk(tree):
        place = Path(folder).relative_to(tree)
        folders[:] = [name for name in folders if not name.startswith(".") and str(place / name) not in _OTHER]
        yield from (place / name for name in files if wanted.includes((place / name).as_posix()))


def stage(target: Path, *, slim: bool, label: dict[str, str]) -> None:
    """Copy what is included, and the file that says so."""
    described = yaml.safe_load((ROOT / BENTOFILE).read_text(encoding="utf-8"))
    if slim:
        described["include"] = [each for each in described["include"] if not each.startswith("/models/tiny/")]
    described["labels"] |= label
    for path in included(ROOT, described["include"], described["exclude"]):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target / path)
    if slim:  # under the name that bentofile and Dockerfile know
        shutil.copyfile(ROOT / "requirements/slim.txt", target / "requirements/runtime.txt")
    (target / BENTOFILE).write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")


def bake(target: Path, asked: Recipe) -> None:
    """Put the model into ``target``. Exits with the status and the line of `python -m indexer bake`."""
    command = [sys.executable, "-m", "indexer", "bake", "--model", asked.spec, "--form", asked.form]
    for option, value in (("--revision", asked.revision), ("--sha256", asked.sha256)):
        command += [option, value] if value is not None else []
    baked = subprocess.run([*command, "--out", str(target / "models" / BAKED)], cwd=ROOT, check=False)
    if baked.returncode:
        sys.exit(baked.returncode)


def build(context: Path, version: str | None) -> Path:
    """Let BentoML build; the folder of the bento."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CROSSMODAL_")}
    shaping = {name: os.environ[name] for name in (f"CROSSMODAL_{each}" for each in SHAPING) if name in os.environ}
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    built = subprocess.run(
        [bentoml, "build", ".", "--output", "tag", *(["--version", version] if version else [])],
        cwd=context,
        env=kept | shaping | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if built.returncode:
        sys.exit(built.returncode)
    name, _, found = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:").partition(":")
    return Path(os.environ.get("BENTOML_HOME", DEFAULT_HOME)).expanduser() / "bentos" / name / found


def commit() -> str:
    """The commit that the tree is of, marked where it was changed; `unknown` outside of a repository."""
    git = shutil.which("git") or "git"
    said = [git, "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(said, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def show(bento: Path) -> None:
    """Say what was built, after a look at the model that is in it."""
    folder = bento / "src" / "models" / BAKED
    if folder.is_dir():
        checked = check_baked(LocalFolder(folder, BAKED))
        print(f"baked in: {checked.name}, fingerprint {read_baked(folder, BAKED).fingerprint}")
    size = sum(path.stat().st_size for path in bento.rglob("*") if path.is_file())
    print(f"{bento.parent.name}:{bento.name}, {size / 1e6:.1f} MB, in {bento}")


def _read() -> argparse.Namespace:
    """The command line, looked through before anything is copied; ``recipe`` is the model's, None without one."""
    parser = argparse.ArgumentParser(prog="python -m tools.bento", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="", help="bake this model in, named as CROSSMODAL_MODEL names it")
    parser.add_argument("--form", choices=("weights", "export", "both"), help="of it; export with --slim, else weights")
    parser.add_argument("--revision", help="commit of the hub's repository, 40 hex digits")
    parser.add_argument("--sha256", help="what the SHA-256 of its weights has to be, 64 hex digits")
    parser.add_argument("--slim", action="store_true", help="without PyTorch: an exported model on CPUs")
    parser.add_argument("--version", help="of the bento; one that BentoML makes up otherwise")
    asked = parser.parse_args()
    if asked.slim and not asked.model:
        parser.error("--slim needs --model, of which it takes the export")
    if asked.slim and asked.form not in {None, "export"}:
        parser.error(f"--slim takes the export of the model: there is no PyTorch for --form {asked.form}")
    if not asked.model and (asked.form or asked.revision or asked.sha256):
        parser.error("--form, --revision and --sha256 are of the model that --model names")
    if asked.version is not None and not VERSION.fullmatch(asked.version.lower()):
        parser.error(
            f"--version is 1 to 63 letters, digits, '.', '_' and '-', the first and the last of them a letter or digit, "
            f"and is not latest; {asked.version!r} came"
        )
    form: Form = asked.form or ("export" if asked.slim else "weights")
    try:
        asked.recipe = Recipe(asked.model, form, asked.revision, asked.sha256) if asked.model else None
    except ConfigurationError as error:
        parser.error(error.detail)
    return asked


def main() -> None:
    """Build a bento as the command line asks."""
    asked = _read()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bento-", dir=ROOT / "build") as folder:
        context = Path(folder)
        stage(context, slim=asked.slim, label={"commit": commit(), "packages": "slim" if asked.slim else "full"})
        if asked.recipe is not None:
            bake(context, asked.recipe)
        bento = build(context, asked.version)
    try:
        show(bento)
    except ConfigurationError as error:
        sys.exit(error.detail)


if __name__ == "__main__":
    main()
