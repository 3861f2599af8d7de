"""Service level objectives: read from a file, and held against what was measured."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from loadtests.recording import Recorder, Tally
from loadtests.shapes import Shape
from loadtests.traffic import Kind

DEFAULT = Path(__file__).with_name("slo.yaml")
LEAST_FOR_P99 = 100
"""Answers of a kind below which a 99th percentile is only the slowest of a few, and is not judged."""

_CONFIG = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
Milliseconds = Annotated[float, Field(gt=0, le=3_600_000)]


class Latency(BaseModel):
    """Milliseconds that half and 99 of 100 answers of a kind take at most."""

    model_config = _CONFIG

    p50: Milliseconds
    p99: Milliseconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p50 > self.p99:
            msg = f"p50 ({self.p50:g} ms) cannot be above p99 ({self.p99:g} ms)"
            raise ValueError(msg)
        return self


class Knee(BaseModel):
    """Where the knee of a mix lies: requests in flight, and answers as documented a second there.

    ``users`` without a pause between requests bring ``share_of_knee`` of that goodput. They are fewer than that share of those
    in flight, since batches grow with what waits; where they are not known it is taken instead.
    """

    model_config = _CONFIG

    in_flight: int = Field(ge=1, le=10_000)
    goodput: float = Field(gt=0)
    users: int | None = Field(default=None, ge=1, le=10_000)


class Slo(BaseModel):
    """The objectives."""

    model_config = _CONFIG

    share_of_knee: float = Field(gt=0, le=1)
    knee: dict[str, Knee]
    """By mix: what a service can bear depends on what it is asked."""
    availability: float = Field(gt=0, le=1)
    latency_ms: dict[Kind, Latency]
    leak_bytes: float = Field(default=256, gt=0)
    """Bytes of memory that a request may leave behind, on average over a soak."""

    def users(self, mix: str) -> int:
        """Users without a pause between requests that make the load of the objectives; at least 1."""
        knee = self._knee(mix)
        return knee.users or max(1, round(self.share_of_knee * knee.in_flight))

    def rate(self, mix: str) -> float:
        """Arrivals a second that make it."""
        return self.share_of_knee * self._knee(mix).goodput

    def _knee(self, mix: str) -> Knee:
        if mix not in self.knee:
            raise ValueError(f"the objectives name no knee of the mix {mix!r}, only of {', '.join(self.knee)}")
        return self.knee[mix]


def load_slo(path: Path) -> Slo:
    """Read a file of objectives. Raises ``ValueError`` naming what is wrong in it, and ``OSError``."""
    try:
        return Slo.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name} holds no objectives: {error}") from error


@dataclass(frozen=True, slots=True)
class Check:
    """One objective: what is allowed, what was measured, and whether it was kept; None where too little came to say."""

    what: str
    allowed: str
    measured: str
    kept: bool | None


def judge(slo: Slo, recorder: Recorder, shape: Shape) -> list[Check]:
    """Hold what came against the objectives, which are for load up to the nominal.

    Beyond it, in a spike and just after, the service may say that it is at its limit (429), and may be slow; it may not
    fail otherwise.
    """
    judged = recorder.total(seconds=shape.is_judged)
    checks = [_available(slo, judged)]
    beyond = recorder.total(seconds=lambda second: not shape.is_judged(second))
    if beyond.ok + beyond.shed + beyond.failed:
        checks.append(
            Check(
                "beyond the nominal load",
                f"at most {1 - slo.availability:.2%} fail; 429 is no failure",
                f"{beyond.ok} answered, {beyond.shed} shed, {beyond.failed} failed",
                (beyond.ok + beyond.shed) / (beyond.ok + beyond.shed + beyond.failed) >= slo.availability,
            )
        )
    for kind in recorder.kinds():
        if kind in slo.latency_ms:
            checks += _quick(kind, slo.latency_ms[kind], recorder.total(kind, shape.is_judged))
    return checks


def _available(slo: Slo, tally: Tally) -> Check:
    asked = tally.ok + tally.shed + tally.failed
    share = tally.ok / asked if asked else 0.0
    measured = f"{share:.3%}: {tally.ok} of {asked}, {tally.shed} shed, {tally.failed} failed"
    return Check("availability", f"at least {slo.availability:.3%}", measured, share >= slo.availability)


def _quick(kind: Kind, allowed: Latency, tally: Tally) -> list[Check]:
    checks = []
    for name, share, most, least in (("p50", 0.5, allowed.p50, 1), ("p99", 0.99, allowed.p99, LEAST_FOR_P99)):
        found = tally.latencies.percentile(share) * 1000
        enough = tally.ok >= least
        measured = "none answered" if math.isnan(found) else f"{found:.1f} ms of {tally.ok}"
        checks.append(Check(f"{kind} {name}", f"at most {most:g} ms", measured, found <= most if enough else None))
    return checks
