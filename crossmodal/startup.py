"""What a process begins with, before it imports the rest: the files it was given are checked, the model is loaded.

Small on purpose: it is imported in the process that only starts workers too, and in a worker the model is loaded in a
thread while everything else is still being imported.
"""

from crossmodal.clip import digests
from crossmodal.clip.base import ClipModel
from crossmodal.clip.spec import LocalFolder, parse_spec
from crossmodal.search.policies import load_policies
from crossmodal.search.vocabulary import load_vocabulary
from crossmodal.settings import ModelRuntime, Settings

__all__ = ["build_model", "check_files"]


def check_files(settings: Settings) -> None:
    """Read the files that the settings name. Raises ``ConfigurationError`` before anything large is loaded."""
    if settings.policies is not None:
        load_policies(settings.policies)
    load_vocabulary(settings.vocabulary)


def build_model(settings: Settings) -> ClipModel:
    """Load the model the settings name. Raises ``ConfigurationError`` with one line that says what is wrong."""
    spec = parse_spec(settings.model)
    if isinstance(spec, LocalFolder):  # while what loads it is imported
        if settings.runtime is not ModelRuntime.TORCH:
            digests.begin_export(spec.path, int8=settings.precision == "int8")
        for path in spec.path.glob("*.safetensors"):
            digests.begin(path)
    from crossmodal.clip.loading import load_model

    return load_model(
        settings.model,
        device=settings.device,
        precision=settings.precision,
        threads=settings.model_threads,
        profile=settings.preprocessing.value,
        runtime=settings.runtime.value,
        exports=settings.exports,
        # A command that computes and keeps nothing makes no folder of data.
        cache=settings.compiled if settings.data.is_dir() else None,
    )
