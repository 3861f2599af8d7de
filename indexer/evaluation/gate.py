"""What must be reached: `recall@1:text-to-image=0.30`."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from crossmodal.errors import ConfigurationError
from crossmodal.search.metrics import Estimate

_FORM = re.compile(r"([a-z]+(?:@\d+)?):([a-z-]+)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """The mean of ``metric`` in ``direction`` must be at least ``least``, 0 to 1."""

    metric: str
    direction: str
    least: float


def parse_requirement(text: str) -> Requirement:
    """A requirement as the command line has it. Raises ``ConfigurationError``."""
    parts = _FORM.fullmatch(text.strip().lower())
    if parts is None or float(parts[3]) > 1:
        raise ConfigurationError(
            f"--require {text!r} is not METRIC:DIRECTION=NUMBER with a number from 0 to 1, as recall@1:text-to-image=0.30"
        )
    return Requirement(parts[1], parts[2], float(parts[3]))


def check_known(requirements: Sequence[Requirement], metrics: Collection[str], directions: Collection[str]) -> None:
    """Raise ``ConfigurationError`` for one that will not be measured, before anything is."""
    for each in requirements:
        if each.metric not in metrics:
            raise ConfigurationError(f"--require {each.metric!r} is not measured here; {', '.join(metrics)} are")
        if each.direction not in directions:
            raise ConfigurationError(f"--require {each.direction!r} is not measured here; {', '.join(directions)} are")


def missed(requirements: Sequence[Requirement], results: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """A line for each requirement that is not met: what was measured, and by how much it is too low."""
    return [
        f"{each.metric}:{each.direction} is {mean:.4f}, {each.least - mean:.4f} below the required {each.least:g}"
        for each in requirements
        if (mean := results[each.direction][each.metric].mean) < each.least
    ]
