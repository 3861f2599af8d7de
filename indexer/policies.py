"""Fit the thresholds of moderation's policies to labelled examples, and write them into the policies' file."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crossmodal.errors import ClientError, ConfigurationError
from crossmodal.search.moderating import Moderating
from crossmodal.search.policies import Policy, load_policies, parse_policies
from crossmodal.search.seeing import PictureSource
from crossmodal.wiring import Container
from indexer.sources import json_lines
from indexer.thresholds import Point, average_precision, choose, points

NOTE = "measured on the examples that the thresholds were chosen on: expect less on others"
_ROWS = 12


@dataclass(frozen=True, slots=True)
class Example:
    """A picture, ``name`` as the file has it, and the names of the policies that should flag it."""

    name: str
    path: Path
    policies: frozenset[str]


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found for a policy; ``chosen`` is None if no threshold is precise enough."""

    policy: Policy
    curve: Sequence[Point]
    chosen: Point | None


def read_examples(file: Path, names: Sequence[str]) -> list[Example]:
    """Lines of `{"image": path, "policies": [name, ...]}`, paths relative to the file. Raises ``ConfigurationError``."""
    return [_example(file, number, values, names) for number, values in json_lines(file)]


def _example(file: Path, number: int, values: object, names: Sequence[str]) -> Example:
    place = f"{file.name}, line {number}"
    if not isinstance(values, dict) or set(values) != {"image", "policies"}:
        raise ConfigurationError(f"{place}: an object with 'image' and 'policies' is needed")
    image, policies = values["image"], values["policies"]
    if not isinstance(image, str) or not isinstance(policies, list):
        raise ConfigurationError(f"{place}: 'image' is a path, 'policies' a list of names")
    for name in policies:
        if name not in names:
            raise ConfigurationError(f"{place}: there is no policy {name!r}; there are {', '.join(names)}")
    return Example(image, file.parent / image, frozenset(policies))


async def fit(
    container: Container, *, policies: Sequence[Policy], examples: Sequence[Example], min_precision: float | None
) -> list[Fit]:
    """Score the examples by each policy and choose its threshold.

    Raises ``ConfigurationError`` for a picture that cannot be read and for a policy with too few examples.
    """
    moderating = Moderating(container.encoder, container.calibrations, container.seeing, policies)
    scores: list[dict[str, float]] = []
    for example in examples:
        source = PictureSource(content=_read(example))
        try:
            answer = await moderating.moderate("", source)
        except ClientError as fault:
            raise ConfigurationError(f"{example.name}: {fault.detail}") from fault
        scores.append({each.name: each.score for each in answer.policies})
    return [_fit(policy, scores, examples, min_precision) for policy in policies]


def _fit(
    policy: Policy, scores: Sequence[Mapping[str, float]], examples: Sequence[Example], min_precision: float | None
) -> Fit:
    try:
        curve = points(
            [each[policy.name] for each in scores], [policy.name in example.policies for example in examples]
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{policy.name}: {error.detail}") from None
    return Fit(policy, curve, choose(curve, min_precision))


def _read(example: Example) -> bytes:
    try:
        return example.path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{example.name}: {error.strerror or type(error).__name__}") from None


def as_table(fit: Fit, min_precision: float | None) -> Iterator[str]:
    """What was found, a line each, for people."""
    positives = fit.curve[0].positives
    examples = fit.curve[-1].flagged
    yield (
        f"{fit.policy.name}: average precision {average_precision(fit.curve):.3f}, "
        f"resting on {positives} positives among {examples} examples"
    )
    yield f"  {'threshold':>10}{'precision':>11}{'recall':>8}{'F1':>7}{'flagged':>9}"
    for point in _some(fit):
        mark = "  <- chosen" if point is fit.chosen else ""
        numbers = f"{point.precision:>11.3f}{point.recall:>8.3f}{point.f1:>7.3f}{point.flagged:>9}"
        yield f"  {point.threshold:>10.4g}{numbers}{mark}"
    if fit.chosen is None:
        yield f"  no threshold has a precision of {min_precision:g}; {fit.policy.threshold:g} stays"


def _some(fit: Fit) -> list[Point]:
    """The points where recall passes another part of the whole, and the chosen one."""
    steps = [next(point for point in fit.curve if point.recall * _ROWS >= step) for step in range(1, _ROWS + 1)]
    wanted = {id(point) for point in (*steps, fit.chosen)}
    return [point for point in fit.curve if id(point) in wanted]


def as_object(fit: Fit) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "name": fit.policy.name,
        "average_precision": average_precision(fit.curve),
        "positives": fit.curve[0].positives,
        "examples": fit.curve[-1].flagged,
        "threshold_before": fit.policy.threshold,
        "chosen": None if fit.chosen is None else _numbers(fit.chosen),
        "points": [_numbers(point) for point in fit.curve],
        "note": NOTE,
    }


def _numbers(point: Point) -> dict[str, float | int]:
    return {
        "threshold": point.threshold,
        "precision": point.precision,
        "recall": point.recall,
        "f1": point.f1,
        "flagged": point.flagged,
    }


def write_thresholds(file: Path, thresholds: Mapping[str, float]) -> None:
    """Put new thresholds into ``file``, in one step; every other character of it stays. Raises ``ConfigurationError``."""
    before = load_policies(file)
    text = file.read_bytes().decode()  # with the line ends that it has
    changed = with_thresholds(text, thresholds)
    wanted = {policy.name: thresholds.get(policy.name, policy.threshold) for policy in before}
    if _thresholds(changed) != wanted:
        raise ConfigurationError(f"{file}: policies share a threshold by an alias; give each its own")
    target = file.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as output:
            output.write(changed)
        shutil.copymode(target, name)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _thresholds(text: str) -> dict[str, float]:
    try:
        return {policy.name: policy.threshold for policy in parse_policies(text)}
    except ConfigurationError:
        return {}


def with_thresholds(text: str, thresholds: Mapping[str, float]) -> str:
    """``text`` of a policies' file with other thresholds; what stands around them is not touched."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    spans: list[tuple[int, int, float]] = []
    for entry in _members(root)["policies"].value:
        members = _members(entry)
        value = thresholds.get(members["name"].value)
        if value is not None:
            node = members["threshold"]
            spans.append((node.start_mark.index, node.end_mark.index, value))
    for start, end, value in sorted(spans, reverse=True):
        written = yaml.safe_dump(value).partition("\n")[0]  # YAML's 1.0e-09: to it, Python's 1e-09 is a string
        text = f"{text[:start]}{written}{text[end:]}"
    return text


def _members(node: Any) -> dict[str, Any]:
    return {key.value: value for key, value in node.value}


def dump(fits: Sequence[Fit]) -> str:
    """All that was found, as JSON."""
    return json.dumps([as_object(each) for each in fits], indent=2)
