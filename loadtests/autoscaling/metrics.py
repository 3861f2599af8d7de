"""What Prometheus would answer: counters of several replicas, scraped again and again, and how fast they grow together.

The rate is extrapolated to the edges of its window as Prometheus does it: as far as the next sample would have been, half as
far where the series began or ended within the window, and never to below zero.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from loadtests.autoscaling.manifest import OF_THE_CLUSTER, Query

_NEAR = 1.1
Samples = deque[tuple[float, float]]
"""Times in seconds and values of a counter, the oldest first."""


def counter(exposition: str, query: Query) -> float:
    """The counter of ``query`` in what one replica shows at `/metrics`. Raises ``LookupError`` where it shows none."""
    wanted = {name: value for name, value in query.labels.items() if name not in OF_THE_CLUSTER}
    found = [
        sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == query.series and _has(sample.labels, wanted)
    ]
    if not found:
        raise LookupError(f"a replica does not show {query.series}")
    return sum(found)


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name, "") == value for name, value in wanted.items())


class Scraped:
    """Samples of each replica, those of the last ``window`` seconds."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._samples: dict[str, Samples] = defaultdict(deque)

    def add(self, replica: str, when: float, value: float) -> None:
        """Keep what ``replica`` showed."""
        self._samples[replica].append((when, value))

    def rate(self, now: float) -> float | None:
        """``sum(rate(...[window]))`` at ``now``; None while no replica has two samples in the window: there is no answer yet."""
        began = now - self._window
        for replica, samples in list(self._samples.items()):
            while samples and samples[0][0] < began:
                samples.popleft()
            if not samples:
                del self._samples[replica]
        rates = [_rate(samples, began, now) for samples in self._samples.values() if len(samples) > 1]
        return sum(rates) if rates else None


def _rate(samples: Samples, began: float, now: float) -> float:
    (first, value), (last, _) = samples[0], samples[-1]
    # A counter that fell was begun anew, from 0.
    increase = sum(new - old if new >= old else new for (_, old), (_, new) in pairwise(samples))
    sampled = last - first
    between = sampled / (len(samples) - 1)
    before = first - began if first - began < _NEAR * between else between / 2
    after = now - last if now - last < _NEAR * between else between / 2
    if increase > 0:
        before = min(before, sampled * value / increase)
    return increase * (sampled + before + after) / sampled / (now - began)
