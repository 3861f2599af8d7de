"""How many replicas there are to be: what Kubernetes' autoscaler decides for a metric of KEDA's (``AverageValue``).

Written from its documented algorithm (kubernetes.io, "Horizontal Pod Autoscaling"): desired = ceil(metric / target), unless
the metric is within the tolerance of what the present replicas should have; on the way down the highest of the
recommendations within the stabilisation window; and no further than the policies allow.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtests.autoscaling.manifest import Direction, Rule


@dataclass
class Autoscaler:
    """Decides again and again; remembers what it recommended and what it changed. Times in seconds of any one clock."""

    rule: Rule
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changed: list[tuple[float, int]] = field(default_factory=list)

    def desired(self, load: float, replicas: int) -> int:
        """What ``load`` in flight asks for while there are ``replicas``, before anything limits it."""
        ratio = load / (self.rule.target * replicas)
        if abs(ratio - 1) <= self.rule.tolerance:
            return replicas
        return math.ceil(load / self.rule.target)

    def decide(self, now: float, load: float, replicas: int) -> int:
        """How many replicas there shall be from ``now`` on; what it says counts as done."""
        self._recommended.append((now, self.desired(load, replicas)))
        longest = max(self.rule.up.window, self.rule.down.window)
        self._recommended = [(then, count) for then, count in self._recommended if then >= now - longest]
        lowest = min(self._within(self.rule.up, now))
        highest = max(self._within(self.rule.down, now))
        steady = min(max(replicas, lowest), highest)
        allowed = min(max(steady, self._floor(now, replicas)), self._ceiling(now, replicas))
        chosen = min(max(allowed, self.rule.least), self.rule.most)
        if chosen != replicas:
            self._changed.append((now, chosen - replicas))
        return chosen

    def _within(self, direction: Direction, now: float) -> Iterable[int]:
        return [count for then, count in self._recommended if then >= now - direction.window]

    def _before(self, now: float, replicas: int, period: float) -> int:
        """Replicas ``period`` seconds ago."""
        return replicas - sum(change for then, change in self._changed if then > now - period)

    def _ceiling(self, now: float, replicas: int) -> int:
        """The most that the policies of growing allow: so much beyond what there was when the period began."""
        limits = [replicas]
        for policy in self.rule.up.policies:
            before = self._before(now, replicas, policy.period)
            limits.append(math.ceil(before * (1 + policy.value / 100)) if policy.percent else before + policy.value)
        return max(limits)

    def _floor(self, now: float, replicas: int) -> int:
        """The fewest that the policies of shrinking allow."""
        limits = [replicas]
        for policy in self.rule.down.policies:
            before = self._before(now, replicas, policy.period)
            limits.append(math.floor(before * (1 - policy.value / 100)) if policy.percent else before - policy.value)
        return min(limits)
