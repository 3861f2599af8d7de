"""A baked model: a folder of all its files, made to be put into a bento, and the manifest that answers for each of them.

The folder holds weights, an export or both, so that serving asks nobody else, and nothing that the manifest does not name.
It is checked at every start.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from crossmodal.clip import digests
from crossmodal.clip.spec import BAKED, LocalFolder
from crossmodal.errors import ConfigurationError

__all__ = ["BAKED_MANIFEST", "Baked", "Form", "Recipe", "check_baked", "read_baked", "write_baked"]

BAKED_MANIFEST: Final = "baked_model.json"

Form = Literal["weights", "export", "both"]
"""What of a model is baked: weights, which PyTorch runs on any device; an export, which OpenVINO runs on CPUs."""

_MOST_SHOWN: Final = 80
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Baked:
    """The manifest of a baked model.

    ``name`` is what clients are told; ``revision`` the commit of the hub's repository, None for a model from elsewhere;
    ``fingerprint`` that of the model in the standard profile; ``files`` the SHA-256 of each file.
    """

    format: Literal[1]
    name: str
    revision: str | None
    fingerprint: _Digest
    files: dict[str, _Digest]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to bake. ``revision`` is a commit of the hub's repository; ``sha256`` of the weights, which must have it then.

    Raises ConfigurationError, one line, where one of these two cannot be what it is said to be.
    """

    spec: str
    form: Form = "weights"
    revision: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Look at their shapes, before anything is fetched."""
        if self.revision is not None and not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise ConfigurationError(f"the revision is a commit, 40 hex digits in lower case; {_shown(self.revision)}")
        if self.sha256 is not None and not re.fullmatch("[0-9A-Fa-f]{64}", self.sha256):
            raise ConfigurationError(f"a SHA-256 is 64 hex digits; {_shown(self.sha256)}")


def _shown(text: str) -> str:
    """What came, on one line, cut if it is long, and how long it is."""
    cut = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    return f"{len(text)} characters came: {cut!r}"


_MANIFEST: Final = TypeAdapter(Baked)


def check_baked(spec: LocalFolder) -> LocalFolder:
    """Compare every file of a baked model with the manifest; the spec under the model's own name.

    A folder without a manifest is taken as it is, unless it is the one of a bento. Raises ConfigurationError, one line, for
    files that are damaged, missing or not named.
    """
    if spec.name == BAKED and not spec.path.is_dir():
        raise ConfigurationError(f"Model {BAKED}: no model was baked in here; build with `make bento MODEL=SPEC`.")
    if spec.name != BAKED and not (spec.path / BAKED_MANIFEST).is_file():
        return spec
    manifest = read_baked(spec.path, spec.name)
    fault = _fault(spec.path, manifest)
    if fault:
        raise ConfigurationError(f"Model {spec.name}: {fault}; bake it anew.")
    return replace(spec, name=manifest.name)


def read_baked(folder: Path, name: str) -> Baked:
    """The manifest in ``folder``. Raises ConfigurationError if it cannot be read."""
    try:
        return _MANIFEST.validate_json((folder / BAKED_MANIFEST).read_bytes())
    except (ValidationError, OSError) as error:
        reason = f"{error.error_count()} faults" if isinstance(error, ValidationError) else error.strerror
        raise ConfigurationError(f"Model {name}: {BAKED_MANIFEST} cannot be read ({reason}); bake it anew.") from error


def write_baked(folder: Path, *, name: str, revision: str | None, fingerprint: str) -> Baked:
    """Answer for the files that ``folder`` holds now."""
    files = {path.name: digests.digest(path) for path in sorted(folder.iterdir())}
    manifest = Baked(format=1, name=name, revision=revision, fingerprint=fingerprint, files=files)
    (folder / BAKED_MANIFEST).write_bytes(_MANIFEST.dump_json(manifest, indent=1))
    return manifest


def _fault(folder: Path, manifest: Baked) -> str:
    """What is wrong with the files, in a few words; empty if nothing is."""
    there = {path.name for path in folder.iterdir() if path.is_file()} - {BAKED_MANIFEST}
    missing, unknown = sorted(manifest.files.keys() - there), sorted(there - manifest.files.keys())
    if missing:
        return f"{missing[0]} is missing"
    if unknown:
        return f"{unknown[0]} is none of its files"
    for file in manifest.files:
        digests.begin(folder / file)  # all at a time
    for file, digest in manifest.files.items():
        try:
            found = digests.digest(folder / file)
        except OSError as error:
            return f"{file} cannot be read ({error.strerror})"
        if found != digest:
            return f"{file} is damaged or of another"
    return ""
