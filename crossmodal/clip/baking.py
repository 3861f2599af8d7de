"""Bakes a model: gathers its files into one folder that serves without a network, checked and named by a manifest."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Final

import structlog

from crossmodal.clip import digests, exported
from crossmodal.clip.baked import Baked, Form, Recipe, write_baked
from crossmodal.clip.calibration import CALIBRATION_FILE
from crossmodal.clip.catalogue import Checkpoint, resolve
from crossmodal.clip.exporting import export_model
from crossmodal.clip.loading import Runtime, load_model
from crossmodal.clip.openclip_library import import_openclip
from crossmodal.clip.spec import LocalFolder, ModelSpec, parse_spec
from crossmodal.errors import ConfigurationError

__all__ = ["bake_model"]

_log = structlog.get_logger(__name__)

_RUNTIMES: Final[dict[Form, tuple[Runtime, ...]]] = {
    "weights": ("torch",),
    "export": ("openvino",),
    "both": ("torch", "openvino"),
}
_CONFIG: Final = "open_clip_config.json"
_WEIGHTS: Final = "open_clip_model.safetensors"
_COMMIT_DIGITS: Final = 40


def bake_model(recipe: Recipe, folder: Path, *, exports: Path) -> Baked:
    """Write all files of a model and their manifest to ``folder``, which is made; exports are looked for in ``exports``.

    What was written is loaded, so it is whole, fits and embeds as it should. Raises ConfigurationError, one line, when the
    model cannot be had, is not the one that was meant or cannot be served; there is no folder then.
    """
    if folder.exists():
        raise ConfigurationError(f"Model {recipe.spec}: {folder.name} is there already; bake into a new folder.")
    spec = parse_spec(recipe.spec)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bake-", dir=folder.parent) as made:
            place = Path(made) / folder.name
            place.mkdir()
            baked = _bake(spec, recipe, place, exports)
            place.rename(folder)
    except OSError as error:
        raise ConfigurationError(f"Model {spec.name}: it cannot be baked: {error.strerror or error}.") from error
    _log.info("clip_baked", model=baked.name, form=recipe.form, revision=baked.revision, fingerprint=baked.fingerprint)
    return baked


def _bake(spec: ModelSpec, recipe: Recipe, folder: Path, exports: Path) -> Baked:
    checkpoint: Checkpoint | None = None
    if recipe.form != "export" or recipe.sha256 is not None or recipe.revision is not None:
        if not isinstance(spec, LocalFolder):
            import_openclip()  # its catalogue says what the others mean
        checkpoint = resolve(spec, recipe.revision)
        _check_weights(checkpoint, recipe)
    if recipe.form != "export" and checkpoint is not None:
        _put_weights(checkpoint, folder, local=isinstance(spec, LocalFolder))
    if recipe.form != "weights":
        _put_export(spec, recipe, folder, exports)
    loaded = [load_model(f"local-dir:{folder}", device="cpu", runtime=each).info for each in _RUNTIMES[recipe.form]]
    if len({info.fingerprint for info in loaded}) > 1:
        raise ConfigurationError(
            f"Model {spec.name}: its export is of another model than its weights; export it again."
        )
    if (folder / exported.INT8_IMAGE_GRAPH).is_file():
        load_model(f"local-dir:{folder}", device="cpu", runtime="openvino", precision="int8")
    name = loaded[-1].name if checkpoint is None else checkpoint.name
    return write_baked(folder, name=name, revision=_commit(checkpoint), fingerprint=loaded[0].fingerprint)


def _check_weights(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Compare the weights with what was asked for, and with what the hub says of them, where it says anything."""
    found = digests.digest(checkpoint.weights)
    blob = checkpoint.weights.resolve().name  # the hub's cache names large files by their SHA-256
    expected = {"of the hub": blob} if checkpoint.weights.is_symlink() and len(blob) == len(found) else {}
    if recipe.sha256 is not None:
        expected["asked for"] = recipe.sha256.lower()
    for whose, digest in expected.items():
        if digest != found:
            raise ConfigurationError(
                f"Model {checkpoint.name}: the weights are not those {whose}: SHA-256 {found}, not {digest}."
            )


def _put_weights(checkpoint: Checkpoint, folder: Path, *, local: bool) -> None:
    """Write what a ``local-dir:`` is made of; an export compares its sources by name and content, so a folder's stay."""
    source = checkpoint.weights.parent
    shutil.copyfile(checkpoint.weights, folder / (checkpoint.weights.name if local else _WEIGHTS))
    if local:
        shutil.copyfile(source / _CONFIG, folder / _CONFIG)
    else:
        content = {"model_cfg": checkpoint.model_cfg, "preprocess_cfg": checkpoint.preprocess_cfg}
        (folder / _CONFIG).write_text(json.dumps(content, indent=1), encoding="utf-8")
    if checkpoint.bpe_path is not None:
        shutil.copyfile(checkpoint.bpe_path, folder / checkpoint.bpe_path.name)
    if checkpoint.calibration:
        shutil.copyfile(source / CALIBRATION_FILE, folder / CALIBRATION_FILE)


def _put_export(spec: ModelSpec, recipe: Recipe, folder: Path, exports: Path) -> None:
    """Copy the export that there is, int8 and all, or make one, which it is where certain weights were asked for."""
    certain = recipe.revision is not None or recipe.sha256 is not None
    found = None if certain else exported.find_export(spec, exports)
    if found is None:
        export_model(recipe.spec, out=folder, exports=exports, revision=recipe.revision)
        return
    place, export = found
    for file in (exported.MANIFEST, *export.files, *(export.int8 or ())):
        shutil.copyfile(place / file, folder / file)
    beside = spec.path if isinstance(spec, LocalFolder) else place
    for calibration in (beside / CALIBRATION_FILE, place / CALIBRATION_FILE):
        if calibration.is_file() and not (folder / CALIBRATION_FILE).exists():
            shutil.copyfile(calibration, folder / CALIBRATION_FILE)


def _commit(checkpoint: Checkpoint | None) -> str | None:
    """The commit whose files the hub's cache gave; its folders have its name."""
    if checkpoint is None:
        return None
    place = checkpoint.weights.parent
    return place.name if place.parent.name == "snapshots" and len(place.name) == _COMMIT_DIGITS else None
