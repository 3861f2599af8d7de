"""`python -m indexer calibrate`: measure what cosines mean on the indexed items and keep it with them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, TypeVar

import typer

from crossmodal.errors import ConfigurationError, CrossModalError
from crossmodal.records import DEFAULT_TENANT, PairName, is_tenant_name
from crossmodal.search.calibrating import LEAST_AUROC, LEAST_MATCHES, Calibrating, Measured, by_field
from crossmodal.settings import load_settings
from crossmodal.telemetry import configure_logging
from crossmodal.wiring import build_container, build_local_encoder

R = TypeVar("R")

LEAST_SAMPLE = 100
MOST_SAMPLE = 100_000


def calibrate(
    tenant: Annotated[str, typer.Option(help="whose items are measured; what is found holds for all")] = DEFAULT_TENANT,
    by: Annotated[str | None, typer.Option(help="a metadata field: items with a value of it in common match")] = None,
    sample: Annotated[
        int, typer.Option(min=LEAST_SAMPLE, max=MOST_SAMPLE, help="items of each modality to measure")
    ] = 2000,
    *,
    keep: Annotated[bool, typer.Option(help="keep it with the collections; or only show it")] = True,
    reset: Annotated[
        bool, typer.Option("--reset", help="forget what was kept, and use what comes with the model")
    ] = False,
) -> None:
    """Measure on the indexed items what cosines mean, so that relevance fits model and data.

    Without --by only unrelated items are measured, and relevance is 0.5 four standard deviations above them; with it, a
    curve is fitted to items that match and items that do not, where matches score clearly above the others (AUROC of
    0.9 or more). A service that is running uses it from its next start on.
    """
    configure_logging()
    try:
        if not is_tenant_name(tenant):
            raise ConfigurationError("--tenant is 1 to 64 of a-z, 0-9, _ and -, and begins with a letter or a digit")
        if reset:
            asyncio.run(_with_calibrating(lambda calibrating: calibrating.forget()))
            typer.echo("forgotten")
            return
        measured = asyncio.run(_with_calibrating(partial(_measure, tenant=tenant, by=by, sample=sample, keep=keep)))
    except CrossModalError as error:
        typer.echo(f"indexer: {error.detail}", file=sys.stderr)
        raise typer.Exit(2) from error
    typer.echo(_table(measured))
    for pair, each in measured.items():
        if by is not None and not each.fitted:
            typer.echo(f"indexer: {pair}: nothing was fitted to what matches by {by!r}: {_why(each)}", err=True)
    typer.echo("kept with the collections" if keep else "not kept")


def _why(each: Measured) -> str:
    if each.auroc is None:
        return f"{each.matches} pairs, {LEAST_MATCHES} are needed"
    return f"they score hardly above unrelated ones (AUROC {each.auroc:.3f}, {LEAST_AUROC} is needed)"


async def _measure(
    calibrating: Calibrating, *, tenant: str, by: str | None, sample: int, keep: bool
) -> Mapping[PairName, Measured]:
    measured = await calibrating.measure(tenant, sample=sample, matching=None if by is None else by_field(by))
    if keep:
        await calibrating.keep(measured)
    return measured


async def _with_calibrating(work: Callable[[Calibrating], Awaitable[R]]) -> R:
    settings = load_settings()
    # The model is loaded for its fingerprint alone, without which no store can be opened.
    container = build_container(settings, build_local_encoder(settings))
    try:
        await container.open()
        return await work(Calibrating(container.store))
    finally:
        await container.close()


def _table(measured: Mapping[PairName, Measured]) -> str:
    rows = [f"{'pair':12}{'unrelated':>11}{'mean':>8}{'std':>8}{'matches':>9}{'AUROC':>8}{'midpoint':>10}{'slope':>8}"]
    for pair, each in measured.items():
        found = each.statistics
        area = "" if each.auroc is None else f"{each.auroc:.3f}"
        rows.append(
            f"{pair:12}{each.unrelated:11}{found.mean:8.3f}{found.std:8.3f}{each.matches or '':>9}{area:>8}"
            f"{found.midpoint:10.3f}{found.slope:8.1f}{'  fitted' if each.fitted else ''}"
        )
    return "\n".join(rows)
