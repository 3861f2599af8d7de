"""The names a model can be asked for by, read into what they say; nothing is looked up here."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crossmodal.errors import ConfigurationError

__all__ = ["BAKED", "BUNDLED", "HubRepository", "LocalFolder", "ModelSpec", "Published", "parse_spec"]

_MODELS = Path(__file__).resolve().parents[2] / "models"

BAKED: Final = "baked"
"""Name of the model that was put into a bento when it was built."""

BUNDLED: Final = {"tiny": _MODELS / "tiny", BAKED: _MODELS / BAKED}
"""Names of the models that come with the project, and their folders."""

_FORMS = "tiny, ARCH/TAG (as ViT-B-32/laion2b_s34b_b79k), hf-hub:ORG/REPO or local-dir:PATH"
_HUB_PREFIX, _LOCAL_PREFIX = "hf-hub:", "local-dir:"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Published:
    """An OpenCLIP architecture and one of its published weights; ``tag`` is None when only the first was given."""

    arch: str
    tag: str | None

    @property
    def name(self) -> str:
        """The spec as it is written."""
        return self.arch if self.tag is None else f"{self.arch}/{self.tag}"


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository of the Hugging Face hub, ``ORG/REPO``, that holds an OpenCLIP model."""

    repository: str

    @property
    def name(self) -> str:
        """The spec as it is written."""
        return _HUB_PREFIX + self.repository


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder with ``open_clip_config.json`` and weights; ``name`` holds no path, it may be shown to clients."""

    path: Path
    name: str


ModelSpec = Published | HubRepository | LocalFolder


def parse_spec(text: str) -> ModelSpec:
    """Read a model spec. Raises ConfigurationError when it has none of the known forms."""
    text = text.strip()
    if text in BUNDLED:
        return LocalFolder(path=BUNDLED[text], name=text)
    if text.startswith(_LOCAL_PREFIX):
        return _local_folder(text.removeprefix(_LOCAL_PREFIX))
    if text.startswith(_HUB_PREFIX):
        return _hub_repository(text.removeprefix(_HUB_PREFIX))
    if not text or ":" in text:
        raise ConfigurationError(f"Model {text!r} cannot be read; a model is named {_FORMS}.")
    arch, slash, tag = text.rpartition("/")
    return Published(arch=arch, tag=tag) if slash else Published(arch=text, tag=None)


def _local_folder(path: str) -> LocalFolder:
    if not path:
        raise ConfigurationError(f"Model {_LOCAL_PREFIX!r} names no folder; write {_LOCAL_PREFIX}PATH.")
    folder = Path(path).expanduser()
    return LocalFolder(path=folder, name=_LOCAL_PREFIX + folder.resolve().name)


def _hub_repository(repository: str) -> HubRepository:
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigurationError(f"Model {_HUB_PREFIX + repository!r} cannot be read; write {_HUB_PREFIX}ORG/REPO.")
    return HubRepository(repository)
