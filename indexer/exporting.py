"""`python -m indexer export`: write the model for OpenVINO, and in int8 with what it is calibrated on."""

import random
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, TypeVar

import numpy as np
import typer
from tqdm import tqdm

from crossmodal.clip.quality import (
    INT8_QUALITY,
    LEAST_SAMPLES,
    MOST_SAMPLES,
    Counts,
    PoorQuality,
    Quality,
    Quantizing,
    Samples,
    read_quality,
    refuse_few,
)
from crossmodal.errors import ClientError, ConfigurationError, CrossModalError, DeadlineExceeded
from crossmodal.imaging import ImageLimits
from crossmodal.imaging.decoder import Decoder
from crossmodal.records import Pixels, Preprocessing, hash_content
from crossmodal.search.indexing import Submission
from crossmodal.search.texts import check_text
from crossmodal.settings import Settings, load_settings
from crossmodal.telemetry import configure_logging
from crossmodal.wiring import export_model
from indexer.sources import Source, scan_pictures, scan_texts

T = TypeVar("T")

_CAPTIONS = ("caption", "text")
"""Metadata in which a picture's sidecar may hold its caption."""

_SHOWN: Final = 5
"""Samples left out of which it is said why."""


def export(
    model: Annotated[str | None, typer.Option(help="as CROSSMODAL_MODEL names it, which it is by default")] = None,
    out: Annotated[Path | None, typer.Option(help="folder; without it the service finds the export by itself")] = None,
    *,
    int8: Annotated[
        bool, typer.Option("--int8", help="in int8, too, for CROSSMODAL_PRECISION=int8: a model of its own")
    ] = False,
    pictures: Annotated[
        Path | None, typer.Option(help=f"int8: folder of pictures of your own, {LEAST_SAMPLES} or more, better 600")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="int8: file of as many texts, a text a line or .jsonl as `indexer texts` takes")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=LEAST_SAMPLES // 2, max=10_000, help="int8: of each, that calibrate; as many judge")
    ] = MOST_SAMPLES,
    accept_quality: Annotated[
        bool, typer.Option("--accept-quality", help="int8: write it however far from fp32 it is")
    ] = False,
) -> None:
    """Export the model for OpenVINO, with which it starts and embeds faster on CPUs.

    With --int8 it is calibrated on a part of the pictures and texts and judged on the others: how far the embeddings are
    from those in fp32, and what is found still. Captions in the pictures' metadata.jsonl (`caption` or `text`) show recall.
    """
    configure_logging()
    try:
        settings = load_settings()
        if model is not None:
            settings = settings.model_copy(update={"model": model})
        quantizing = None
        if int8:
            quantizing = Quantizing(_reading(settings, pictures, texts, 2 * samples), samples, accept=accept_quality)
        elif pictures is not None or texts is not None or accept_quality:
            raise ConfigurationError("--pictures, --texts and --accept-quality go with --int8")
        folder = export_model(settings, out, quantizing)
        if int8:
            _tell(read_quality(folder / INT8_QUALITY))
    except CrossModalError as error:
        if isinstance(error, PoorQuality):
            _tell(error.quality)
        typer.echo(f"indexer: {error.detail}", file=sys.stderr)
        raise typer.Exit(2) from error
    typer.echo(folder)


def _reading(
    settings: Settings, pictures: Path | None, texts: Path | None, most: int
) -> Callable[[Preprocessing], Samples]:
    """Read the texts and look for pictures now; read at most ``most`` of these once the model says how."""
    if pictures is None or texts is None:
        raise ConfigurationError(
            f"--int8 needs --pictures FOLDER and --texts FILE, {LEAST_SAMPLES} of each or more, better {2 * MOST_SAMPLES}, "
            "like those that will be searched"
        )
    found, given = _shuffled(scan_pictures(pictures)), _shuffled(read_texts(scan_texts(texts), settings.max_text_chars))
    refuse_few(Counts(len(found), len(given)))

    def read(preprocessing: Preprocessing) -> Samples:
        ours = replace(preprocessing, profile=settings.preprocessing.value)
        pixels, captions = read_pictures(settings, found, ours, most)
        return Samples(pixels, captions, given[:most])

    return read


def _shuffled(items: list[T]) -> list[T]:
    """In an order that is the same each time."""
    random.Random(0).shuffle(items)  # noqa: S311 - not for secrets
    return items


def read_texts(lines: list[Source], longest: int) -> list[str]:
    """The different texts that the service would take, of at most ``longest`` characters; says which lines are left out."""
    found: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    for line in lines:
        try:
            if line.submission.fault is not None:
                raise line.submission.fault
            text = check_text(line.submission.content.decode(), max_chars=longest)
        except ClientError as error:
            left_out.append((line.name, error.detail))
            continue
        first = found.setdefault(text, line.name)
        if first != line.name:
            left_out.append((line.name, f"the same text as {first}"))
    _say_left_out(left_out, f"{len(lines)} texts")
    return list(found)


def _say_left_out(samples: Sequence[tuple[str, str]], given: str) -> None:
    """Of the first few by name why they are left out, and how many there are."""
    if samples:
        more = len(samples) - _SHOWN
        said = [f"{name}: {reason}" for name, reason in samples[:_SHOWN]] + ([f"and {more} more"] if more > 0 else [])
        typer.echo("\n  ".join([f"left out: {len(samples)} of {given}", *said]), err=True)


def read_pictures(
    settings: Settings, sources: list[Source], preprocessing: Preprocessing, most: int
) -> tuple[Pixels, list[str]]:
    """Pixels and captions of the first ``most`` different pictures that can be read; says which are left out before these."""
    limits = ImageLimits(
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        max_aspect=settings.max_image_aspect,
    )
    found: dict[str, tuple[str, Pixels, str]] = {}
    left_out: list[tuple[str, str]] = []
    bar = tqdm(total=min(most, len(sources)), unit=" pictures", file=sys.stderr, disable=None)
    with bar, closing(Decoder(limits, settings.decode_timeout)) as decoder:
        for source in sources:
            if len(found) == most:
                break
            try:
                given = source.load()
                if given.fault is not None:
                    raise given.fault
                pixels = decoder.prepare(given.content, preprocessing).pixels
            except (ClientError, DeadlineExceeded) as error:
                left_out.append((source.name, error.detail))
                continue
            first, _, _ = found.setdefault(hash_content(given.content), (source.name, pixels, _caption(given)))
            if first != source.name:
                left_out.append((source.name, f"the same picture as {first}"))
            bar.update(len(found) - bar.n)
    _say_left_out(sorted(left_out), f"{len(found) + len(left_out)} pictures")
    size = preprocessing.size
    empty = np.empty((0, size, size, 3), np.uint8)
    return np.stack([each for _, each, _ in found.values()]) if found else empty, [
        said for _, _, said in found.values()
    ]


def _caption(given: Submission) -> str:
    named = (given.metadata or {}).get
    return next((said for said in map(named, _CAPTIONS) if isinstance(said, str) and said.strip()), "")


def _tell(quality: Quality) -> None:
    """The report as a table."""
    held_out, calibrated = quality.held_out, quality.calibrated_on
    typer.echo(
        f"int8, calibrated on {calibrated.pictures} pictures and {calibrated.texts} texts; cosine to fp32 of others:"
    )
    typer.echo(f"{'':10}{'held out':>9}{'least':>9}{'p1':>9}{'p5':>9}{'median':>9}")
    rows = (("pictures", held_out.pictures, quality.pictures), ("texts", held_out.texts, quality.texts))
    for what, count, spread in rows:
        numbers = "".join(f"{each:9.4f}" for each in (spread.least, spread.p1, spread.p5, spread.p50))
        typer.echo(f"{what:10}{count:9}{numbers}")
    typer.echo(f"of the ten nearest pictures of a text, {quality.neighbours:.1%} stay")
    for each in quality.recall:
        change = 100 * (each.quantized - each.source)
        typer.echo(
            f"recall@{each.k} of {quality.captions} captions: fp32 {each.source:.3f}, int8 {each.quantized:.3f} "
            f"({change:+.1f} points)"
        )
