"""The room's entry: from the name of a model to the model, ready to embed."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, cast

import structlog

from crossmodal.clip import digests
from crossmodal.clip.baked import check_baked
from crossmodal.clip.base import ClipModel
from crossmodal.clip.calibration import read_calibration
from crossmodal.clip.catalogue import resolve
from crossmodal.clip.device import Precision, choose_device, choose_precision, set_threads
from crossmodal.clip.exported import INT8_OPTIONS, MANIFEST, Export, StaleExport, export_folder, find_export
from crossmodal.clip.kernels import bound_kernel_caches
from crossmodal.clip.openclip_library import import_openclip
from crossmodal.clip.openvino_library import openvino
from crossmodal.clip.openvino_runtime import OpenVinoClip, OtherEmbeddings, native_precision
from crossmodal.clip.spec import LocalFolder, ModelSpec, parse_spec
from crossmodal.errors import ConfigurationError
from crossmodal.records import Profile

__all__ = ["Runtime", "load_model"]

_log = structlog.get_logger(__name__)

Runtime = Literal["auto", "torch", "openvino"]

_CUDA_DEVICES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What a driver of CUDA devices puts there; the second one on Windows' Linux. Without it torch need not be asked."""

_OPENVINO_PRECISIONS: Final = ("auto", "fp32", "bf16")
"""What it computes in without being told to quantize."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, beside the model."""

    device: str
    precision: str
    threads: int | None
    profile: Profile


def load_model(
    spec: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    profile: Profile = "standard",
    runtime: Runtime = "auto",
    exports: Path | None = None,
    cache: Path | None = None,
) -> ClipModel:
    """Load the model that ``spec`` names: tiny, baked, ARCH/TAG, hf-hub:ORG/REPO or local-dir:PATH.

    ``device`` is auto, cpu, cuda or cuda:N; ``precision`` auto, fp32, bf16, fp16 or int8, which only an export has and
    only whoever asks for it gets; ``threads`` the threads of one operation on the CPU, for the whole process; ``profile``
    how pictures are made RGB, part of the fingerprint.
    ``runtime`` auto is OpenVINO where the model was exported (to its folder or to one below ``exports``), runs on the CPU
    and gives the embeddings it should, else PyTorch; an export that is there and damaged is refused, never passed over.
    ``cache`` keeps what OpenVINO compiled. The log says which runtime it is and why. Compared with OpenCLIP's own
    functions, or what they gave, and warm when it returns.
    Raises ConfigurationError, one line, for everything that can be wrong with names, files, weights and hardware.
    """
    started = perf_counter()
    if threads is not None and threads < 1:
        raise ConfigurationError(f"Threads of the model: {threads} given, at least 1 is needed.")
    parsed, wanted = parse_spec(spec), _Wanted(device, precision, threads, profile)
    if isinstance(parsed, LocalFolder):
        parsed = check_baked(parsed)
    model, why = _load(parsed, wanted, runtime, exports, cache)
    seconds = round(perf_counter() - started, 2)
    info = model.info
    _log.info(
        "clip_loaded",
        model=info.name,
        runtime=type(model).__name__,
        why=why,
        device=info.device,
        precision=info.precision,
        seconds=seconds,
    )
    return model


def _load(
    spec: ModelSpec, wanted: _Wanted, runtime: Runtime, exports: Path | None, cache: Path | None
) -> tuple[ClipModel, str]:
    """The model by the runtime that is meant, and why by that one."""
    # int8 is another embedding space: nothing may step in for it.
    needed = runtime == "openvino" or (runtime == "auto" and wanted.precision == "int8")
    if runtime == "torch" or not (needed or _suits_openvino(spec, wanted)):
        why = "asked for" if runtime == "torch" else "the device or the precision is none of OpenVINO's"
        return _load_torch(spec, wanted), why
    model, why = None, "there is no export"
    try:
        model = _load_exported(spec, wanted, exports, cache, needed=needed)
    except (StaleExport, OtherEmbeddings) as error:
        if needed or not _has_weights(spec):
            raise
        why = "the export is not used"
        _log.warning("clip_export_not_used", model=spec.name, reason=str(error), instead="PyTorch")
    if model is not None:
        return model, "asked for" if needed else "there is an export"
    return _load_torch(spec, wanted), why


def _load_torch(spec: ModelSpec, wanted: _Wanted) -> ClipModel:
    if not _torch_installed():
        raise ConfigurationError(
            f"Model {spec.name}: PyTorch, which it needs, is not installed here, as in a slim bento; "
            "only exported models are served, on the CPU."
        )
    bound_kernel_caches()
    if not isinstance(spec, LocalFolder):
        import_openclip()  # its catalogue says what the others mean
    checkpoint = resolve(spec)
    digests.begin(checkpoint.weights)
    import_openclip(checkpoint.model_cfg)
    place = choose_device(wanted.device)
    chosen = choose_precision(wanted.precision, place)
    set_threads(wanted.threads)
    from crossmodal.clip.torch_loading import NotComputable, load_torch

    try:
        return load_torch(checkpoint, place, chosen, wanted.profile)
    except NotComputable as error:
        if wanted.precision != "auto" or chosen == "fp32":
            raise ConfigurationError(str(error)) from error
        _log.warning("clip_precision_fallback", model=checkpoint.name, refused=chosen, reason=str(error))
        return load_torch(checkpoint, place, "fp32", wanted.profile)


def _load_exported(
    spec: ModelSpec, wanted: _Wanted, exports: Path | None, cache: Path | None, *, needed: bool
) -> ClipModel | None:
    """Load the export of the model; None where there is none, which is refused if it is ``needed``."""
    int8 = wanted.precision == "int8"
    if needed and not (wanted.device in {"auto", "cpu"} and (int8 or wanted.precision in _OPENVINO_PRECISIONS)):
        raise ConfigurationError(
            f"Model {spec.name}: OpenVINO runs on the CPU in {' or '.join(_OPENVINO_PRECISIONS)}, or in int8; "
            f"device {wanted.device} and precision {wanted.precision} were asked for."
        )
    _hash_early(spec, exports, int8=int8)
    found = find_export(spec, exports, int8=int8)
    if found is not None:
        return _load_openvino(*found, spec, wanted, cache)
    if needed:
        raise ConfigurationError(
            f"Model {spec.name} has no {'int8 ' if int8 else ''}export; "
            f"make one: python -m indexer export --model {spec.name if ':' not in spec.name else 'SPEC'}{INT8_OPTIONS if int8 else ''}."
        )
    return None


def _hash_early(spec: ModelSpec, exports: Path | None, *, int8: bool) -> None:
    """Begin to hash the large files of an export and of its source, where there is one, and import OpenVINO meanwhile."""
    folders = [spec.path] if isinstance(spec, LocalFolder) else []
    places = [*folders, *([] if exports is None else [export_folder(exports, spec)])]
    place = next((each for each in places if (each / MANIFEST).is_file()), None)
    if place is not None:
        digests.begin_export(place, int8=int8)
        for path in (file for each in folders for file in each.glob("*.safetensors")):
            digests.begin(path)
        openvino()


def _load_openvino(folder: Path, export: Export, spec: ModelSpec, wanted: _Wanted, cache: Path | None) -> ClipModel:
    # What was measured after the export counts.
    beside = spec.path if isinstance(spec, LocalFolder) else folder
    calibration = read_calibration(beside, name=spec.name) or read_calibration(folder, name=spec.name)
    return OpenVinoClip(
        folder,
        export,
        precision=native_precision() if wanted.precision == "auto" else cast("Precision", wanted.precision),
        profile=wanted.profile,
        calibration=calibration,
        threads=wanted.threads,
        cache=cache,
    )


def _suits_openvino(spec: ModelSpec, wanted: _Wanted) -> bool:
    """Whether the model would run on the CPU anyway, in numbers that OpenVINO has there."""
    if wanted.device not in {"auto", "cpu"} or wanted.precision not in _OPENVINO_PRECISIONS:
        return False
    if wanted.device == "cpu" or not any(path.exists() for path in _CUDA_DEVICES):
        return True
    if not _has_weights(spec) or not _torch_installed():
        return True
    return choose_device("auto") == "cpu"


def _has_weights(spec: ModelSpec) -> bool:
    """Whether PyTorch could load the model: an export can stand alone in a folder."""
    if isinstance(spec, LocalFolder):
        try:
            resolve(spec)
        except ConfigurationError:
            return False
    return True


def _torch_installed() -> bool:
    """Whether PyTorch is there: what serves exported models alone is installed without it."""
    return find_spec("torch") is not None
