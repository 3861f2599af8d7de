"""A model exported for OpenVINO: the files of a folder, and what serving must know beside them.

The folder holds the graphs of both towers, the tokenizer, reference embeddings, calibration where the source has one, and
the manifest, which names all of these but the calibration with their SHA-256. Nothing in it is a pickle.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from crossmodal.clip.bpe import BytePairs
from crossmodal.clip.catalogue import Checkpoint, resolve
from crossmodal.clip.fingerprint import hash_weights
from crossmodal.clip.spec import LocalFolder, ModelSpec
from crossmodal.clip.text import BpeTokenizer
from crossmodal.errors import ConfigurationError
from crossmodal.records import Embeddings, Preprocessing, Profile

__all__ = [
    "FILES", "IMAGE_GRAPH", "MANIFEST", "REFERENCES", "TEXT_GRAPH", "TOKENIZER",
    "Export", "StaleExport", "export_folder", "find_export", "read_references", "read_tokenizer", "sources_of", "write_manifest",
]  # fmt: skip

MANIFEST: Final = "openvino_export.json"
IMAGE_GRAPH: Final = "openvino_image.xml"
TEXT_GRAPH: Final = "openvino_text.xml"
TOKENIZER: Final = "openvino_tokenizer.json"
REFERENCES: Final = {"pixels": "openvino_check_pixels.npy", "texts": "openvino_check_texts.npy"}
"""Embeddings of ``self_check``'s pictures and texts by PyTorch in fp32."""
FILES: Final = (
    IMAGE_GRAPH, IMAGE_GRAPH.replace(".xml", ".bin"), TEXT_GRAPH, TEXT_GRAPH.replace(".xml", ".bin"), TOKENIZER,
    *REFERENCES.values(),
)  # fmt: skip
"""What the manifest answers for."""

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[int, Field(gt=0)]


class StaleExport(ConfigurationError):
    """The export was made of other files than the folder holds now, or before there was what is asked of it."""


@dataclass(frozen=True, slots=True)
class Export:
    """The manifest of an export.

    ``fingerprints`` are those of the source model for each profile of preprocessing; ``preprocessing`` is in the
    standard one. ``any_length``: the text graph takes texts of any length, else of ``context_length`` ids. ``sources``:
    digests of the files of the model's folder, empty for a model that is named otherwise; ``files``: of those exported.
    """

    format: Literal[1]
    name: str
    dim: _Positive
    context_length: _Positive
    preprocessing: Preprocessing
    fingerprints: dict[Profile, _Digest]
    logit_scale: _Finite
    logit_bias: _Finite | None
    any_length: bool
    sources: dict[str, _Digest]
    files: dict[str, _Digest]


_MANIFEST: Final = TypeAdapter(Export)


def export_folder(exports: Path, spec: ModelSpec) -> Path:
    """Where the export of a model is kept that is not beside its weights; two folders of one name are told apart."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in spec.name)
    identity = str(spec.path.resolve()) if isinstance(spec, LocalFolder) and ":" in spec.name else spec.name
    return exports / f"{plain}-{sha256(identity.encode()).hexdigest()[:8]}"


def find_export(spec: ModelSpec, exports: Path | None) -> tuple[Path, Export] | None:
    """Find an export in the model's own folder or in ``exports``, its files whole, made of what the folder holds now.

    None where there is none. Raises ``StaleExport``, ConfigurationError for damaged files.
    """
    places = [spec.path] if isinstance(spec, LocalFolder) else []
    places += [export_folder(exports, spec)] if exports is not None else []
    for place in places:
        if (place / MANIFEST).is_file():
            export = _read_manifest(place, spec.name)
            _refuse_stale(export, spec)
            _refuse_damaged(export, place, spec.name)
            return place, export
    return None


def sources_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Digests of the files that a model's folder makes it from."""
    folder = checkpoint.weights.parent
    files = [checkpoint.weights, folder / "open_clip_config.json", *filter(None, [checkpoint.bpe_path])]
    return {path.name: hash_weights(path) for path in files}


def write_manifest(folder: Path, export: Export) -> None:
    """Write the manifest of ``export``."""
    (folder / MANIFEST).write_bytes(_MANIFEST.dump_json(export, indent=1))


def read_tokenizer(folder: Path, export: Export, name: str) -> BpeTokenizer:
    """The tokenizer of an export. Raises ConfigurationError for a file that cannot be meant."""
    try:
        content = json.loads((folder / TOKENIZER).read_bytes())
        pairs = BytePairs(
            content["vocabulary"],
            content["merges"],
            special=content["special"],
            clean=content["clean"],
            context_length=export.context_length,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"Model {name}: {TOKENIZER} of its export cannot be read: {error!r}.") from error
    return BpeTokenizer(pairs)


def read_references(folder: Path, name: str) -> Mapping[str, Embeddings]:
    """The reference embeddings of an export. Raises ConfigurationError for files that cannot be read."""
    try:
        return {
            what: np.load(folder / file, allow_pickle=False).astype(np.float32) for what, file in REFERENCES.items()
        }
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Model {name}: the references of its export cannot be read: {error}.") from error


def fingerprint_in(export: Export, profile: Profile) -> str:
    """The source model's fingerprint in ``profile``. Raises StaleExport if the export is older than that profile."""
    try:
        return export.fingerprints[profile]
    except KeyError:
        raise StaleExport(
            f"Model {export.name}: its export is older than the profile {profile}; {_again(export.name)}."
        ) from None


def _read_manifest(folder: Path, name: str) -> Export:
    try:
        export = _MANIFEST.validate_json((folder / MANIFEST).read_bytes())
    except (ValidationError, OSError) as error:
        raise ConfigurationError(
            f"Model {name}: {MANIFEST} cannot be read ({_one_line(error)}); {_again(name)}."
        ) from error
    if set(export.files) != set(FILES) or not {"standard", "reference"} <= set(export.fingerprints):
        raise ConfigurationError(f"Model {name}: {MANIFEST} does not name what an export is made of; {_again(name)}.")
    return export


def _one_line(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults[:3])


def _refuse_damaged(export: Export, folder: Path, name: str) -> None:
    for file, digest in export.files.items():
        path = folder / file
        if not path.is_file():
            raise ConfigurationError(f"Model {name}: {file} of its export is missing; {_again(name)}.")
        if hash_weights(path) != digest:
            raise ConfigurationError(f"Model {name}: {file} of its export is damaged or of another; {_again(name)}.")


def _refuse_stale(export: Export, spec: ModelSpec) -> None:
    """Compare with the files of the model's folder, where these are there: an export serves alone, too."""
    if not isinstance(spec, LocalFolder) or not any((spec.path / file).is_file() for file in export.sources):
        return
    if sources_of(resolve(spec)) != export.sources:
        raise StaleExport(f"Model {spec.name}: its files are not those its export was made of; {_again(spec.name)}.")


def _again(name: str) -> str:
    shown = name if ":" not in name or name.startswith("hf-hub:") else "local-dir:PATH"
    return f"export it again: python -m indexer export --model {shown}"
