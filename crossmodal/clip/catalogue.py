"""Finds what a model spec means: the architecture, the weights file, the preprocessing and the tokenizer's source."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from crossmodal.clip.calibration import read_calibration
from crossmodal.clip.hub import fetch_config, fetch_weights
from crossmodal.clip.spec import BUNDLED, HubRepository, LocalFolder, ModelSpec, Published
from crossmodal.errors import ConfigurationError
from crossmodal.records import Statistics

__all__ = ["Checkpoint", "resolve"]

_CONFIG: Final = "open_clip_config.json"
_VOCABULARY: Final = "bpe_simple_vocab.txt.gz"
_WEIGHTS: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a model is made from.

    ``architecture`` and ``tokenizer`` are names for open_clip's ``create_model`` and ``get_tokenizer``; ``bpe_path``
    is a vocabulary that came with the weights and then takes the place of ``tokenizer``.
    """

    name: str
    architecture: str
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    weights: Path
    tokenizer: str
    bpe_path: Path | None = None
    calibration: Statistics = field(default_factory=dict)


def resolve(spec: ModelSpec, revision: str | None = None) -> Checkpoint:
    """Find, and fetch where needed, what ``spec`` names; of the hub at ``revision``, by default what it has now.

    Raises ConfigurationError, one line, when it cannot be had.
    """
    match spec:
        case Published():
            return _published(spec, revision)
        case HubRepository():
            return _hub_repository(spec, revision)
        case LocalFolder():
            if revision is not None:
                raise ConfigurationError(f"Model {spec.name}: a folder has no revisions; {revision!r} was asked for.")
            return _local_folder(spec)


def _published(spec: Published, revision: str | None) -> Checkpoint:
    import open_clip

    tag = _known_tag(spec)
    source = open_clip.get_pretrained_cfg(spec.arch, tag)
    model_cfg = open_clip.get_model_config(spec.arch)
    name = f"{spec.arch}/{tag}"
    _check_activation(name, model_cfg, source, spec.arch, tag)
    repository, _, filename = source.get("hf_hub", "").rpartition("/")
    if not repository:
        raise ConfigurationError(
            f"Model {name}: its weights are published only as a pickle, which is refused; "
            f"tags of {spec.arch}: {_listed(open_clip.list_pretrained_tags_by_model(spec.arch))}."
        )
    return Checkpoint(
        name=name,
        architecture=spec.arch,
        model_cfg=model_cfg,
        preprocess_cfg={key: source[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in source},
        weights=fetch_weights(repository, filename, model=name, revision=revision),
        tokenizer=spec.arch,
    )


def _known_tag(spec: Published) -> str:
    """Return the tag as open_clip spells it, once architecture and tag are known to it."""
    import open_clip

    architectures = open_clip.list_models()
    if spec.arch not in architectures:
        known = [*architectures, *BUNDLED]
        near = [name for name in known if name == spec.name.replace("/", "-")]
        near = near or get_close_matches(spec.arch.replace("/", "-"), known, n=3, cutoff=0.5)
        hint = f"the nearest names are {_listed(near)}" if near else "open_clip.list_models() names all"
        raise ConfigurationError(f"Model {spec.name}: there is no architecture {spec.arch!r}; {hint}.")
    tags = open_clip.list_pretrained_tags_by_model(spec.arch)
    if not tags:
        raise ConfigurationError(f"Model {spec.name}: {spec.arch} has no published weights; use local-dir:PATH.")
    if spec.tag is None:
        raise ConfigurationError(
            f"Model {spec.name} names no weights; write {spec.arch}/TAG with one of {_listed(tags)}."
        )
    tag = spec.tag.lower().replace("-", "_")
    if tag not in tags:
        near = get_close_matches(tag, tags, n=3, cutoff=0.5)
        elsewhere = [f"{arch}/{tag}" for arch in open_clip.list_pretrained_models_by_tag(tag) if arch != spec.arch]
        near_arch = get_close_matches(spec.name, elsewhere, n=2, cutoff=0.5)
        raise ConfigurationError(
            f"Model {spec.name}: {spec.arch} has no weights {spec.tag!r}; "
            f"the nearest are {_listed([f'{spec.arch}/{t}' for t in near or tags] + near_arch)}."
        )
    return tag


def _check_activation(name: str, model_cfg: dict[str, Any], source: dict[str, Any], arch: str, tag: str) -> None:
    """Refuse weights trained with another activation than the architecture has: they load and embed badly."""
    import open_clip

    trained, built = bool(source.get("quick_gelu", False)), bool(model_cfg.get("quick_gelu", False))
    other = arch.removesuffix("-quickgelu") if built else f"{arch}-quickgelu"
    # One architecture is published in one form only, which the catalogue's entry does not repeat.
    if trained == built or other == arch or other not in open_clip.list_models():
        return
    kinds = {True: "QuickGELU", False: "GELU"}
    raise ConfigurationError(
        f"Model {name}: these weights were trained with {kinds[trained]} but {arch} computes {kinds[built]}; "
        f"use {other}/{tag}."
    )


def _hub_repository(spec: HubRepository, revision: str | None) -> Checkpoint:
    config_path = fetch_config(spec.repository, model=spec.name, revision=revision)
    model_cfg, preprocess_cfg = _read_config(config_path, spec.name)
    _check_published_activation(spec, model_cfg)
    needs_hub = "hf_tokenizer_name" in model_cfg["text_cfg"]
    folder = f"local-dir:{config_path.parent}"
    return Checkpoint(
        name=spec.name,
        architecture=folder,
        model_cfg=model_cfg,
        preprocess_cfg=preprocess_cfg,
        # Of the same commit as the configuration, whatever was pushed since.
        weights=fetch_weights(spec.repository, model=spec.name, revision=config_path.parent.name),
        tokenizer=f"hf-hub:{spec.repository}" if needs_hub else folder,
    )


def _check_published_activation(spec: HubRepository, model_cfg: dict[str, Any]) -> None:
    """Compare with the catalogue where the repository is one it knows."""
    import open_clip

    for arch, tag in open_clip.list_pretrained():
        source = open_clip.get_pretrained_cfg(arch, tag)
        if source.get("hf_hub", "").rpartition("/")[0] == spec.repository and not arch.endswith("-quickgelu"):
            _check_activation(spec.name, model_cfg, source, arch, tag)


def _local_folder(spec: LocalFolder) -> Checkpoint:
    if not spec.path.is_dir():
        raise ConfigurationError(f"Model {spec.name}: there is no folder {spec.path}.")
    if not (spec.path / _CONFIG).is_file():
        raise ConfigurationError(f"Model {spec.name}: the folder {spec.path} has no {_CONFIG}.")
    model_cfg, preprocess_cfg = _read_config(spec.path / _CONFIG, spec.name)
    vocabulary = spec.path / _VOCABULARY
    return Checkpoint(
        name=spec.name,
        architecture=f"local-dir:{spec.path}",
        model_cfg=model_cfg,
        preprocess_cfg=preprocess_cfg,
        weights=_find_weights(spec),
        tokenizer=f"local-dir:{spec.path}",
        bpe_path=vocabulary if vocabulary.is_file() else None,
        calibration=read_calibration(spec.path, name=spec.name),
    )


def _read_config(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read ``model_cfg`` and ``preprocess_cfg``, after a check that they are what they should be."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model_cfg, preprocess_cfg = config["model_cfg"], config.get("preprocess_cfg", {})
        known = all(isinstance(model_cfg[part], dict) for part in ("vision_cfg", "text_cfg"))
        known = known and isinstance(model_cfg["embed_dim"], int) and isinstance(preprocess_cfg, dict)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ConfigurationError(
            f"Model {name}: {path.name} cannot be read as a model's configuration: {error}."
        ) from error
    if not known:
        raise ConfigurationError(f"Model {name}: {path.name} has no model_cfg with embed_dim, vision_cfg and text_cfg.")
    return model_cfg, preprocess_cfg


def _find_weights(spec: LocalFolder) -> Path:
    for candidate in _WEIGHTS:
        if (spec.path / candidate).is_file():
            return spec.path / candidate
    others = sorted(path.name for path in spec.path.glob("*.safetensors"))
    if len(others) == 1:
        return spec.path / others[0]
    if others:
        raise ConfigurationError(f"Model {spec.name}: which weights? Rename one of {_listed(others)} to {_WEIGHTS[0]}.")
    pickles = sorted(path.name for pattern in _PICKLES for path in spec.path.glob(pattern))
    pickles = [name for name in pickles if not name.startswith("openvino_")]  # an export's graphs
    if pickles:
        raise ConfigurationError(
            f"Model {spec.name}: {_listed(pickles)} is a pickle, which can run code as it loads and is refused; "
            f"convert it to {_WEIGHTS[0]}."
        )
    raise ConfigurationError(f"Model {spec.name}: the folder {spec.path} has no weights; {_WEIGHTS[0]} is expected.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
