"""The commands `eval` and `karpathy`: what the command line says, turned into one of the three ways to measure."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from crossmodal.clip.base import ModelInfo
from crossmodal.errors import ConfigurationError, CrossModalError
from crossmodal.records import DEFAULT_TENANT, is_tenant_name
from crossmodal.settings import Settings, load_settings
from crossmodal.telemetry import configure_logging
from crossmodal.wiring import Container, build_container, build_local_encoder
from indexer.evaluation.gate import Requirement, check_known, missed, parse_requirement
from indexer.evaluation.karpathy import pairs_of_split
from indexer.evaluation.measuring import measure_pairs, measure_queries, measure_through_store
from indexer.evaluation.pairs import Pairs, read_pairs
from indexer.evaluation.plot import draw, require_matplotlib
from indexer.evaluation.queries import LabelledQuery, read_queries
from indexer.evaluation.report import Results, document, table
from indexer.evaluation.results import KS, Measured, pair_metrics, query_metrics

_UNUSABLE = 2
_MISSED = 1


@dataclass(frozen=True, slots=True)
class _Task:
    """What to measure: pairs or queries, of which there is one kind."""

    pairs: Pairs | None
    queries: list[LabelledQuery]
    through_store: bool
    tenant: str
    depth: int

    @property
    def metrics(self) -> list[str]:
        return list(pair_metrics()) if self.pairs else [*query_metrics(), *(f"overlap@{k}" for k in KS)]

    @property
    def directions(self) -> list[str]:
        return ["text-to-image", "image-to-text"] if self.pairs else sorted({each.direction for each in self.queries})


def evaluate(
    *,
    pairs: Annotated[Path | None, typer.Option(help=".jsonl or .csv of pictures and their captions")] = None,
    queries: Annotated[
        Path | None, typer.Option(help=".jsonl of queries and the ids they should find in the collection")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="folder from which pictures are named (default: that of the file)")
    ] = None,
    captions: Annotated[int | None, typer.Option(min=1, help="take the first so many captions of each picture")] = None,
    through_store: Annotated[
        bool, typer.Option("--through-store", help="index the pairs into a temporary embedded store and search there")
    ] = False,
    tenant: Annotated[str, typer.Option(help="in whose items the queries are searched")] = DEFAULT_TENANT,
    depth: Annotated[int, typer.Option(min=10, max=1000, help="hits looked at where a store is searched")] = 100,
    require: Annotated[
        list[str] | None,
        typer.Option(help="METRIC:DIRECTION=NUMBER that must be reached, as recall@1:text-to-image=0.30; repeatable"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="fail if any picture cannot be read or any relevant id is not indexed")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write everything measured to this file")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw recall@k and the scores into this .png")] = None,
    resamples: Annotated[int, typer.Option(min=100, max=100_000, help="of the bootstrap")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="of the bootstrap")] = 0,
) -> None:
    """Measure how well the configured model, and store, find what belongs together in your own data.

    Exits with 1 if a requirement is missed, 2 if something cannot be used.
    """
    configure_logging()
    started = time.monotonic()
    with _told():
        requirements = [parse_requirement(each) for each in require or []]
        _check_outputs(json_file, plot)
        settings = load_settings()
        task = _task(
            settings, pairs, queries, images, captions, through_store=through_store, tenant=tenant, depth=depth
        )
        check_known(requirements, task.metrics, task.directions)
        measured, model = asyncio.run(_measure(settings, task))
        _tell_left_out(measured, strict=strict)
        results = {
            name: direction.estimates(measured.metrics, resamples=resamples, seed=seed)
            for name, direction in measured.directions.items()
        }
        for line in table(measured, results, model):
            typer.echo(line)
        if json_file is not None:
            about = {"resamples": resamples, "seed": seed, "seconds": round(time.monotonic() - started, 3)}
            _write(json_file, json.dumps(document(measured, results, model, **about), indent=2, ensure_ascii=False))
        if plot is not None:
            draw(measured, plot)
    _judge(requirements, results)


def karpathy(
    file: Annotated[Path, typer.Argument(help="dataset_coco.json, dataset_flickr8k.json or dataset_flickr30k.json")],
    out: Annotated[Path, typer.Option(help=".jsonl file to write")],
    split: Annotated[str, typer.Option(help="which pictures: test, val, train or restval")] = "test",
) -> None:
    """Turn a file of Karpathy's splits into pairs for `eval --pairs`."""
    with _told():
        lines = list(pairs_of_split(file, split))
        _write(out, "\n".join(lines))
    typer.echo(f"{len(lines)} pictures", err=True)


def _task(
    settings: Settings,
    pairs: Path | None,
    queries: Path | None,
    images: Path | None,
    captions: int | None,
    *,
    through_store: bool,
    tenant: str,
    depth: int,
) -> _Task:
    if not is_tenant_name(tenant):
        raise ConfigurationError("--tenant is 1 to 64 of a-z, 0-9, _ and -, and begins with a letter or a digit")
    chars = settings.max_text_chars
    if pairs is not None and queries is None:
        read = read_pairs(pairs, images=images, max_chars=chars, first=captions)
        return _Task(read, [], through_store, DEFAULT_TENANT, depth)
    if queries is not None and pairs is None:
        if through_store or captions is not None:
            raise ConfigurationError("--through-store and --captions go with --pairs")
        return _Task(None, read_queries(queries, images=images, max_chars=chars), through_store, tenant, depth)
    raise ConfigurationError("exactly one of --pairs and --queries is needed")


async def _measure(settings: Settings, task: _Task) -> tuple[Measured, ModelInfo]:
    with TemporaryDirectory(prefix="crossmodal-eval-") as folder:
        if task.pairs is not None:
            # Nothing of the user's own collection is touched, nor its folder locked.
            store = f"edge:{folder}/store" if task.through_store else "memory:"
            settings = settings.model_copy(update={"store": store, "media": f"{folder}/media"})
        async with _opened(settings) as container:
            model = await container.encoder.info()
            if task.pairs is None:
                done = await measure_queries(container, task.queries, tenant=task.tenant, depth=task.depth)
            elif task.through_store:
                done = await measure_through_store(container, task.pairs, tenant=task.tenant, depth=task.depth)
            else:
                done = await measure_pairs(container, task.pairs)
            return done, model


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Container]:
    container = build_container(settings, build_local_encoder(settings))
    try:
        await container.open()
        yield container
    finally:
        await container.close()


def _check_outputs(json_file: Path | None, plot: Path | None) -> None:
    """Find out before the work, not after it, that its result cannot be written."""
    if plot is not None:
        require_matplotlib()
        if plot.suffix.lower() != ".png":
            raise ConfigurationError(f"--plot writes a .png, not {plot.name}")
    for file in filter(None, (json_file, plot)):
        if not file.parent.is_dir() or file.is_dir():
            raise ConfigurationError(f"{file} cannot be written: its folder is not there, or it is a folder itself")


def _tell_left_out(measured: Measured, *, strict: bool) -> None:
    for name, reason in measured.unreadable:
        typer.echo(f"unreadable: {name}: {reason}", err=True)
    for name in measured.unknown:
        typer.echo(f"not indexed: {name}", err=True)
    left_out = {
        "pictures could not be read and were left out": len(measured.unreadable),
        "relevant ids are not indexed and count as not found": len(measured.unknown),
    }
    told = [f"{count} {what}" for what, count in left_out.items() if count]
    if told and strict:
        raise ConfigurationError(f"{'; '.join(told)} (--strict)")
    for each in told:
        typer.echo(each, err=True)


def _judge(requirements: list[Requirement], results: Results) -> None:
    faults = missed(requirements, results)
    for fault in faults:
        typer.echo(f"missed: {fault}", err=True)
    if faults:
        raise typer.Exit(_MISSED)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text + "\n", "utf-8")
    except (OSError, UnicodeEncodeError) as error:
        raise ConfigurationError(f"{file} cannot be written: {getattr(error, 'strerror', error)}") from error


@contextmanager
def _told() -> Iterator[None]:
    """Say what the block cannot do, a line for each fault, and exit with 2."""
    try:
        yield
    except CrossModalError as error:
        _fail(error)
    except ExceptionGroup as group:
        known, unknown = group.split(CrossModalError)
        if unknown is not None or known is None:
            raise
        _fail(known.exceptions[0])


def _fail(error: Exception) -> None:
    detail = error.detail if isinstance(error, CrossModalError) else str(error)
    for line in detail.splitlines():
        typer.echo(f"indexer: {line}", file=sys.stderr)
    raise typer.Exit(_UNUSABLE)
