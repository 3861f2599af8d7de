"""The commands. They read the same settings as the service and write through the same wiring."""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from crossmodal.api.caller import Right
from crossmodal.errors import ConfigurationError, CrossModalError
from crossmodal.records import DEFAULT_TENANT, is_tenant_name
from crossmodal.search.indexing import Status
from crossmodal.search.policies import Policy, load_policies
from crossmodal.settings import Settings, load_settings
from crossmodal.telemetry import configure_logging
from crossmodal.wiring import Container, build_container, build_local_encoder
from indexer.baking import bake
from indexer.calibrating import calibrate
from indexer.evaluation.command import evaluate, karpathy
from indexer.exporting import export
from indexer.keys import add_key, list_keys, moment, revoke_key
from indexer.pipeline import index_sources
from indexer.policies import NOTE, as_table, dump, fit, read_examples, write_thresholds
from indexer.sources import scan_pictures, scan_texts

app = typer.Typer(
    help="Fill the collections of the cross-modal search service, measure how well they are searched, and make keys for it.",
    no_args_is_help=True,
)
app.command(name="eval")(evaluate)
app.command()(karpathy)

app.command()(bake)
app.command()(calibrate)
app.command()(export)

KeysFile = Annotated[Path, typer.Option("--file", help="the keys file, as CROSSMODAL_KEYS_FILE names it")]

R = TypeVar("R")
Job = Callable[[Container], Awaitable[R]]
Tenant = Annotated[str, typer.Option(help="whose items they become")]


@app.command()
def images(
    folder: Annotated[Path, typer.Argument(help="pictures below it are indexed, with metadata.jsonl beside them")],
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Index every picture below a folder."""
    with _told():
        _check_tenant(tenant)
        sources = scan_pictures(folder)
    _run(lambda container: index_sources(partial(container.indexing.index_images, tenant), sources, unit=" pictures"))


@app.command()
def texts(
    file: Annotated[Path, typer.Argument(help=".jsonl with strings or {text, id, metadata}, or a text a line")],
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Index the texts of a file."""
    with _told():
        _check_tenant(tenant)
        sources = scan_texts(file)
    _run(lambda container: index_sources(partial(container.indexing.index_texts, tenant), sources, unit=" texts"))


def _check_tenant(name: str) -> None:
    if not is_tenant_name(name):
        raise ConfigurationError("--tenant is 1 to 64 of a-z, 0-9, _ and -, and begins with a letter or a digit")


@app.command()
def key(
    file: KeysFile,
    name: Annotated[str, typer.Option(help="what the key is called in lists and logs; one entry has it")],
    tenant: Annotated[str, typer.Option(help="whose items the key sees and changes: [a-z0-9][a-z0-9_-]*")],
    scope: Annotated[list[Right], typer.Option(help="what it may do; repeat it for several")],
    rate: Annotated[float | None, typer.Option(help="units of work a second (README, Keys)")] = None,
    burst: Annotated[float | None, typer.Option(help="units of work that can be saved up")] = None,
    expires: Annotated[
        str | None, typer.Option(help="date or date-time, ISO 8601, UTC unless it says otherwise")
    ] = None,
) -> None:
    """Make a key, print it once, and add its hash to the keys file."""
    with _told():
        until = None if expires is None else moment(expires)
        scopes = [right.value for right in Right if right in scope]
        made = add_key(file, name=name, tenant=tenant, scopes=scopes, rate=rate, burst=burst, expires=until)
    typer.echo(made)
    typer.echo("This is the only time the key is shown: keep it now.", err=True)


@app.command()
def keys(file: KeysFile) -> None:
    """List the keys: name, tenant, scopes, rate, expiry."""
    with _told():
        for line in list_keys(file):
            typer.echo(line)


@app.command()
def revoke(
    file: KeysFile, name: Annotated[str, typer.Option(help="of the key that shall not be valid any more")]
) -> None:
    """Take a key out of the keys file; a running service notices within seconds."""
    with _told():
        revoke_key(file, name)
    typer.echo(f"revoked {name}", err=True)


@app.command()
def fit_policies(
    policies: Annotated[Path, typer.Option(help="the YAML file, as CROSSMODAL_POLICIES names it")],
    examples: Annotated[Path, typer.Option(help='lines of {"image": path, "policies": \\[name, ...]}')],
    policy: Annotated[list[str] | None, typer.Option(help="fit this one alone; repeat it for several")] = None,
    min_precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="best recall at no less precision, instead of best F1")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="put the thresholds into the policies' file")] = False,  # noqa: FBT002 -- typer's way to say a flag
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,  # noqa: FBT002
) -> None:
    """Choose thresholds of /moderate on labelled pictures; exits with 1 if a policy has none that is precise enough."""
    configure_logging()
    with _told():
        chosen = _policies(policies, policy)
        labelled = read_examples(examples, [each.name for each in load_policies(policies)])
        # Nothing is looked up or kept, and what a running service has is not to be touched.
        with tempfile.TemporaryDirectory() as folder:
            settings = load_settings().model_copy(update={"store": "memory:", "media": folder, "policies": None})
            job = partial(fit, policies=chosen, examples=labelled, min_precision=min_precision)
            fits = asyncio.run(_with_container(settings, job))
        found = {each.policy.name: each.chosen.threshold for each in fits if each.chosen is not None}
        if write:
            write_thresholds(policies, found)
    if as_json:
        typer.echo(dump(fits))
    else:
        for line in (line for each in fits for line in as_table(each, min_precision)):
            typer.echo(line)
        typer.echo(NOTE)
    if len(found) < len(fits):
        raise typer.Exit(1)


def _policies(file: Path, names: list[str] | None) -> list[Policy]:
    known = {each.name: each for each in load_policies(file)}
    for name in names or ():
        if name not in known:
            raise ConfigurationError(f"{file} has no policy {name!r}; it has {', '.join(known)}")
    return [each for each in known.values() if not names or each.name in names]


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line what the block cannot do, and exit with 2."""
    try:
        yield
    except CrossModalError as error:
        _fail(error.detail)
    except ExceptionGroup as group:
        known, unknown = group.split(CrossModalError)
        if unknown is not None or known is None:
            raise
        _fail(str(known.exceptions[0]))


def _run(job: Job[Counter[Status]]) -> None:
    """Open a container, do the job, say what came of it. Exits with 1 if an item failed, 2 if nothing could be done."""
    configure_logging()
    with _told():
        outcomes = asyncio.run(_with_container(load_settings(), job))
    typer.echo(", ".join(f"{status} {outcomes[status]}" for status in Status))
    if outcomes[Status.FAILED]:
        raise typer.Exit(1)


async def _with_container(settings: Settings, job: Job[R]) -> R:
    container = build_container(settings, build_local_encoder(settings))
    try:
        await container.open()
        return await job(container)
    finally:
        await container.close()


def _fail(detail: str) -> NoReturn:
    typer.echo(f"indexer: {detail}", file=sys.stderr)
    raise typer.Exit(2)
