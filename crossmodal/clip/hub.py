"""Fetches files of a model from the Hugging Face hub; what is in its cache already is taken from there."""

from pathlib import Path
from typing import Any

from crossmodal.errors import ConfigurationError

__all__ = ["fetch_config", "fetch_weights"]

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")


def fetch_config(repository: str, *, model: str, **where: Any) -> Path:
    """Path of the repository's OpenCLIP configuration in the cache.

    ``where`` goes to huggingface_hub (``revision``, ``endpoint``, ``cache_dir``). Raises ConfigurationError when there is none.
    """
    path = _fetch(repository, _CONFIG, model=model, **where)
    if path is None:
        raise ConfigurationError(f"Model {model}: repository {repository} has no {_CONFIG}; it is no OpenCLIP model.")
    return path


def fetch_weights(repository: str, filename: str = "", *, model: str, **where: Any) -> Path:
    """Path of the repository's safetensors weights in the cache.

    ``filename`` is the weights file the catalogue names, of which only a safetensors twin is taken. Raises
    ConfigurationError when the hub cannot be reached or only has pickled weights, which can run code as they load.
    """
    names = (f"{Path(filename).stem}.safetensors",) if filename else _WEIGHTS
    for name in names:
        path = _fetch(repository, name, model=model, **where)
        if path is not None:
            return path
    raise ConfigurationError(
        f"Model {model}: repository {repository} has no {' or '.join(names)}; pickled weights are refused, "
        "choose a model whose weights are published as safetensors."
    )


def _fetch(repository: str, filename: str, *, model: str, **where: Any) -> Path | None:
    """Fetch one file; None when the repository lacks it."""
    from huggingface_hub import errors

    try:
        return _download(repository, filename, **where)
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(repository, model, "no connection and not in the cache") from error
    except errors.EntryNotFoundError:
        return None
    except errors.RevisionNotFoundError as error:
        raise _unreachable(repository, model, f"it has no revision {where.get('revision')}") from error
    except errors.GatedRepoError as error:
        raise _unreachable(repository, model, "access to it must be granted first") from error
    except errors.RepositoryNotFoundError as error:
        raise _unreachable(repository, model, "there is no such repository, or it is private") from error
    except Exception as error:
        raise _unreachable(repository, model, f"the download failed ({type(error).__name__})") from error


def _download(repository: str, filename: str, **where: Any) -> Path:
    """Ask the cache first, so that a start needs no network and gets the same weights again."""
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(repository, filename, local_files_only=True, **where))
    except errors.LocalEntryNotFoundError:
        return Path(hf_hub_download(repository, filename, **where))


def _unreachable(repository: str, model: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Model {model}: its files could not be fetched from the hub repository {repository}: {reason}. Start once "
        "with a connection, or fetch the repository elsewhere and name its folder as local-dir:PATH."
    )
