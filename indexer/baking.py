"""The command that gathers a model's files, to be put into a bento or onto a volume."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from crossmodal.clip.baked import Form, Recipe
from crossmodal.errors import ConfigurationError, CrossModalError
from crossmodal.settings import load_settings
from crossmodal.telemetry import configure_logging
from crossmodal.wiring import bake_model


def bake(
    out: Annotated[Path, typer.Option(help="a new folder")],
    model: Annotated[str | None, typer.Option(help="as CROSSMODAL_MODEL names it, which it is by default")] = None,
    form: Annotated[
        str, typer.Option(help="weights, for PyTorch; export, for OpenVINO on CPUs, which needs no PyTorch; both")
    ] = "weights",
    revision: Annotated[str | None, typer.Option(help="commit of the hub's repository; by default what it has")] = None,
    sha256: Annotated[str | None, typer.Option(help="what the weights' SHA-256 has to be")] = None,
) -> None:
    """Write all files of a model to a folder that serves without a network, and that is checked at every start."""
    configure_logging()
    try:
        settings = load_settings()
        baked = bake_model(settings, Recipe(model or settings.model, _form(form), revision, sha256), out)
    except CrossModalError as error:
        typer.echo(f"indexer: {error.detail}", file=sys.stderr)
        raise typer.Exit(2) from error
    typer.echo(f"{baked.name}, fingerprint {baked.fingerprint}")
    if baked.revision is not None:
        typer.echo(f"revision {baked.revision}: name it to get the same again")
    typer.echo(out)


def _form(given: str) -> Form:
    match given:
        case "weights" | "export" | "both":
            return given
    raise ConfigurationError(f"--form is weights, export or both; {given!r} was given")
