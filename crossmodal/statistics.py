"""Statistics of a model's cosines as JSON: read from a model's folder, kept with the collections."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

from crossmodal.errors import ConfigurationError
from crossmodal.records import PairName, PairStatistics, Statistics

PAIRS: tuple[PairName, ...] = get_args(PairName)


def pack_statistics(statistics: Statistics) -> dict[str, Any]:
    """As a JSON object, which ``unpack_statistics`` reads."""
    return {pair: asdict(each) for pair, each in statistics.items()}


def unpack_statistics(members: object, *, where: str) -> Statistics:
    """The statistics of a JSON object. Raises ``ConfigurationError``, naming ``where``, if they cannot be meant."""
    if not isinstance(members, Mapping):
        raise ConfigurationError(
            f"{where}: an object with a member for each pair is needed, {type(members).__name__} came"
        )
    return {pair: _unpack(pair, members[pair], where) for pair in _known(members, where)}


def _known(members: Mapping[str, object], where: str) -> list[PairName]:
    unknown = members.keys() - set(PAIRS)
    if unknown:
        raise ConfigurationError(f"{where} has {min(map(str, unknown))!r}; pairs are {', '.join(PAIRS)}")
    return [pair for pair in PAIRS if pair in members]


def _unpack(pair: str, members: object, where: str) -> PairStatistics:
    try:
        found = PairStatistics(**{str(name): float(value) for name, value in dict(members).items()})  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{where}: {pair!r} needs the numbers midpoint, slope, mean and std and nothing else"
        ) from error
    finite = all(math.isfinite(value) for value in asdict(found).values())
    if not finite or not -1 <= found.midpoint <= 1 or not -1 <= found.mean <= 1 or found.slope <= 0 or found.std <= 0:
        raise ConfigurationError(
            f"{where}: {pair!r} has midpoint {found.midpoint}, slope {found.slope}, mean {found.mean}, std {found.std}; "
            "midpoint and mean are cosines of -1 to 1, slope and std above 0"
        )
    return found
