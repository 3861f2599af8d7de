"""The rule by which encoders are scaled, read from the manifest that a cluster is given, so that the two cannot drift."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import promql_parser
import yaml

from tools.servers import ROOT

ENCODER = ROOT / "deploy" / "kubernetes" / "scaling" / "keda-encoder" / "scaledobject.yaml"
SYNC_SECONDS = 15.0
"""How often an autoscaler of Kubernetes decides, unless its cluster says otherwise."""
TOLERANCE = 0.1
"""How far from the target what is in flight may be, as a share, before the number of replicas changes: Kubernetes' default."""
OF_THE_CLUSTER = {"namespace", "job"}
"""Labels that Prometheus adds to what a replica shows."""


class Unknown(Exception):
    """The manifest says something that is not understood here, and so would not be done."""


@dataclass(frozen=True, slots=True)
class Query:
    """``sum(rate(series{labels}[window]))``: how much a counter grows a second, in all replicas, over ``window`` seconds."""

    series: str
    labels: Mapping[str, str]
    window: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read PromQL. Raises ``Unknown`` for any other form than the one above, and ``ValueError`` for what is no PromQL."""
        whole = promql_parser.parse(text)
        if not isinstance(whole, promql_parser.AggregateExpr) or str(whole.op) != "sum" or whole.modifier is not None:
            raise Unknown(f"not the sum over all replicas: {text}")
        if not isinstance(whole.expr, promql_parser.Call) or whole.expr.func.name != "rate":
            raise Unknown(f"not the sum of a rate: {text}")
        (of_range,) = whole.expr.args
        if not isinstance(of_range, promql_parser.MatrixSelector):
            raise Unknown(f"not the rate of a series: {text}")
        found = of_range.vector_selector
        matchers = found.matchers.matchers
        if not found.name or any(matcher.op != promql_parser.MatchOp.Equal for matcher in matchers):
            raise Unknown(f"labels that are not told by equality: {text}")
        return cls(found.name, {each.name: each.value for each in matchers}, of_range.range.total_seconds())


@dataclass(frozen=True, slots=True)
class Policy:
    """How far the number of replicas may change within ``period`` seconds: by ``value`` replicas, or ``percent`` of them."""

    value: int
    percent: bool
    period: float

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Read a policy of a manifest."""
        return cls(said["value"], {"Pods": False, "Percent": True}[said["type"]], said["periodSeconds"])


@dataclass(frozen=True, slots=True)
class Direction:
    """What holds for changes upwards, or downwards: how long to wait for certainty, seconds, and how far to go at a time.

    Of several policies the one that allows most holds, as in Kubernetes unless it is told otherwise.
    """

    window: float
    policies: tuple[Policy, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Read a direction of a manifest. Raises ``Unknown``."""
        if unknown := set(said) - {"stabilizationWindowSeconds", "policies"}:
            raise Unknown(f"{sorted(unknown)} of a direction")
        return cls(said["stabilizationWindowSeconds"], tuple(map(Policy.of, said["policies"])))

    def faster(self, factor: float) -> "Direction":
        """The same in a world whose clocks run ``factor`` times as fast."""
        policies = tuple(replace(policy, period=policy.period / factor) for policy in self.policies)
        return Direction(self.window / factor, policies)


@dataclass(frozen=True, slots=True)
class Rule:
    """How many replicas there are to be: ``target`` in flight in each, from ``least`` to ``most``; times in seconds."""

    query: Query
    target: float
    least: int
    most: int
    up: Direction
    down: Direction
    every: float = SYNC_SECONDS
    tolerance: float = TOLERANCE

    def faster(self, factor: float) -> "Rule":
        """The same in a world whose clocks run ``factor`` times as fast: every time of it is shorter, and nothing else changes."""
        return replace(
            self,
            query=replace(self.query, window=self.query.window / factor),
            up=self.up.faster(factor),
            down=self.down.faster(factor),
            every=self.every / factor,
        )


def read_rule(path: Path = ENCODER) -> Rule:
    """The rule of a ScaledObject with one trigger. Raises ``Unknown`` for what it says and this does not know."""
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
    (trigger,) = spec["triggers"]
    if (trigger["type"], trigger["metricType"]) != ("prometheus", "AverageValue"):
        raise Unknown(f"a trigger of type {trigger['type']}, {trigger['metricType']}")
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return Rule(
        query=Query.parse(trigger["metadata"]["query"]),
        target=float(trigger["metadata"]["threshold"]),
        least=spec["minReplicaCount"],
        most=spec["maxReplicaCount"],
        up=Direction.of(behavior["scaleUp"]),
        down=Direction.of(behavior["scaleDown"]),
    )
