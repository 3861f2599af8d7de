"""A model exported for OpenVINO: the files of a folder, and what serving must know beside them.

The folder holds the graphs of both towers, the tokenizer, reference embeddings, calibration where the source has one, and
the manifest, which names all of these but the calibration with their SHA-256. It may hold the towers in int8 as well, with
references of their own and a report on what int8 costs: another embedding space. Nothing in it is a pickle.
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
from crossmodal.clip.fingerprint import hash_weights, quantized_fingerprint
from crossmodal.clip.quality import INT8_QUALITY
from crossmodal.clip.spec import BUNDLED, LocalFolder, ModelSpec
from crossmodal.clip.text import BpeTokenizer
from crossmodal.errors import ConfigurationError
from crossmodal.records import Embeddings, Preprocessing, Profile

__all__ = [
    "FILES", "IMAGE_GRAPH", "INT8_FILES", "INT8_IMAGE_GRAPH", "INT8_OPTIONS", "INT8_REFERENCES", "INT8_TEXT_GRAPH", "MANIFEST",
    "REFERENCES", "TEXT_GRAPH", "TOKENIZER", "Export", "StaleExport", "Variant", "export_folder", "find_export",
    "kept_int8", "read_references", "read_tokenizer", "sources_of", "variant_of", "write_manifest",
]  # fmt: skip

MANIFEST: Final = "openvino_export.json"
IMAGE_GRAPH: Final = "openvino_image.xml"
TEXT_GRAPH: Final = "openvino_text.xml"
TOKENIZER: Final = "openvino_tokenizer.json"
REFERENCES: Final = {"pixels": "openvino_check_pixels.npy", "texts": "openvino_check_texts.npy"}
"""Embeddings of ``self_check``'s pictures and texts by PyTorch in fp32."""
INT8_IMAGE_GRAPH: Final = "openvino_int8_image.xml"
INT8_TEXT_GRAPH: Final = "openvino_int8_text.xml"
INT8_REFERENCES: Final = {"pixels": "openvino_int8_check_pixels.npy", "texts": "openvino_int8_check_texts.npy"}
"""Embeddings of the same pictures and texts by the int8 graphs, where they were exported."""
INT8_OPTIONS: Final = " --int8 --pictures FOLDER --texts FILE"
"""What the command needs for int8."""


def _graph(file: str) -> tuple[str, str]:
    """The two files of a graph."""
    return file, file.replace(".xml", ".bin")


FILES: Final = (*_graph(IMAGE_GRAPH), *_graph(TEXT_GRAPH), TOKENIZER, *REFERENCES.values())
"""What the manifest answers for."""


INT8_FILES: Final = (*_graph(INT8_IMAGE_GRAPH), *_graph(INT8_TEXT_GRAPH), *INT8_REFERENCES.values(), INT8_QUALITY)
"""What it answers for in int8."""


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
    ``int8``: digests of the files in int8, None where the model was not exported in it.
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
    int8: dict[str, _Digest] | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One embedding space of an export: names of its graphs and references, fingerprints, the digests of its files."""

    images: str
    texts: str
    references: Mapping[str, str]
    fingerprints: Mapping[Profile, str]
    files: Mapping[str, str]


def variant_of(export: Export, *, int8: bool) -> Variant:
    """The embedding space of the source model, or that of int8, which the export must have then."""
    if not int8 or export.int8 is None:
        return Variant(IMAGE_GRAPH, TEXT_GRAPH, REFERENCES, export.fingerprints, export.files)
    graphs = {file: export.int8[file] for file in (*_graph(INT8_IMAGE_GRAPH), *_graph(INT8_TEXT_GRAPH))}
    return Variant(
        images=INT8_IMAGE_GRAPH,
        texts=INT8_TEXT_GRAPH,
        references=INT8_REFERENCES,
        fingerprints={profile: quantized_fingerprint(each, graphs) for profile, each in export.fingerprints.items()},
        files={TOKENIZER: export.files[TOKENIZER], **export.int8},
    )


_MANIFEST: Final = TypeAdapter(Export)


def export_folder(exports: Path, spec: ModelSpec) -> Path:
    """Where the export of a model is kept that is not beside its weights; two folders of one name are told apart."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in spec.name)
    identity = str(spec.path.resolve()) if isinstance(spec, LocalFolder) and ":" in spec.name else spec.name
    return exports / f"{plain}-{sha256(identity.encode()).hexdigest()[:8]}"


def find_export(spec: ModelSpec, exports: Path | None, *, int8: bool = False) -> tuple[Path, Export] | None:
    """Find an export in the model's own folder or in ``exports``, its files whole, made of what the folder holds now.

    With ``int8`` one that has it, and its files instead. None where no file of one is there. Raises ``StaleExport``,
    ConfigurationError for one that is there and not whole, the manifest included.
    """
    places = [spec.path] if isinstance(spec, LocalFolder) else []
    places += [export_folder(exports, spec)] if exports is not None else []
    for place in places:
        if any((place / file).exists() for file in (MANIFEST, *FILES, *INT8_FILES)):
            export = _read_manifest(place, spec.name)
            if int8 and export.int8 is None:
                continue
            command = _command(spec.name, int8=int8)
            _refuse_stale(export, spec, command)
            _refuse_damaged(variant_of(export, int8=int8), place, spec.name, command)
            return place, export
    return None


def kept_int8(folder: Path, made: Export) -> dict[str, str] | None:
    """The int8 part of the export that ``folder`` holds, whole and of the same source as ``made``; else None.

    Collections are bound to it: calibrated again, it would be another model.
    """
    try:
        old = _MANIFEST.validate_json((folder / MANIFEST).read_bytes())
    except (ValidationError, OSError):
        return None
    if old.int8 is None or not old.fingerprints.items() <= made.fingerprints.items() or not _names_its_files(old):
        return None
    whole = all((folder / file).is_file() and hash_weights(folder / file) == was for file, was in old.int8.items())
    return old.int8 if whole else None


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


def read_references(folder: Path, files: Mapping[str, str], name: str) -> Mapping[str, Embeddings]:
    """The reference embeddings in ``files`` of an export. Raises ConfigurationError for files that cannot be read."""
    try:
        return {what: np.load(folder / file, allow_pickle=False).astype(np.float32) for what, file in files.items()}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"Model {name}: the references of its export cannot be read: {error}.") from error


def fingerprint_in(variant: Variant, profile: Profile, name: str) -> str:
    """A variant's fingerprint in ``profile``. Raises StaleExport if the export is older than that profile."""
    try:
        return variant.fingerprints[profile]
    except KeyError:
        raise StaleExport(f"Model {name}: its export is older than the profile {profile}; {_command(name)}.") from None


def _read_manifest(folder: Path, name: str) -> Export:
    again, path = _command(name), folder / MANIFEST
    if not path.exists():
        raise ConfigurationError(
            f"Model {name}: {MANIFEST} of its export is missing, other files of it are there; {again}."
        )
    try:
        export = _MANIFEST.validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise ConfigurationError(f"Model {name}: {MANIFEST} of its export {_fault_of(error)}; {again}.") from error
    if not _names_its_files(export) or not {"standard", "reference"} <= set(export.fingerprints):
        raise ConfigurationError(f"Model {name}: {MANIFEST} of its export does not name what one is made of; {again}.")
    return export


def _names_its_files(export: Export) -> bool:
    return set(export.files) == set(FILES) and (export.int8 is None or set(export.int8) == set(INT8_FILES))


def _fault_of(error: ValidationError | OSError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    faults = error.errors(include_url=False, include_input=False)
    if faults[0]["type"] == "json_invalid":  # an empty file, too
        return f"is damaged ({faults[0]['msg']})"
    return (
        "says what cannot be meant ("
        + "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in faults[:3])
        + ")"
    )


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) or "all of it"


def _refuse_damaged(variant: Variant, folder: Path, name: str, again: str) -> None:
    for file, digest in variant.files.items():
        path = folder / file
        if not path.is_file():
            raise ConfigurationError(f"Model {name}: {file} of its export is missing; {again}.")
        if hash_weights(path) != digest:
            raise ConfigurationError(f"Model {name}: {file} of its export is damaged or of another; {again}.")


def _refuse_stale(export: Export, spec: ModelSpec, again: str) -> None:
    """Compare with the files of the model's folder, where these are there: an export serves alone, too."""
    if not isinstance(spec, LocalFolder) or not any((spec.path / file).is_file() for file in export.sources):
        return
    if sources_of(resolve(spec)) != export.sources:
        raise StaleExport(f"Model {spec.name}: its files are not those its export was made of; {again}.")


def _command(name: str, *, int8: bool = False) -> str:
    """What puts the export right, without the path of a folder. In a model's own folder it is looked for first."""
    local = ":" in name and not name.startswith("hf-hub:")
    out = " --out PATH" if local else f" --out {BUNDLED[name].parent.name}/{name}" if name in BUNDLED else ""
    shown = "local-dir:PATH" if local else name
    return f"export it again: python -m indexer export --model {shown}{out}{INT8_OPTIONS if int8 else ''}"
