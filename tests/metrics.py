"""What the metrics of this process say, before and after something."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY


def sample(name: str, **labels: str) -> float:
    """The value of a series, 0 if there is none."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def by(name: str, label: str) -> Counter[str]:
    """The values of the series ``name`` by one of their labels."""
    found: Counter[str] = Counter()
    for metric in REGISTRY.collect():
        for each in metric.samples:
            if each.name == name:
                found[each.labels[label]] += int(each.value)
    return found


@contextmanager
def problems(**expected: int) -> Iterator[None]:
    """Check that the block answers with so many problems of each code that are counted, and none of another."""
    before = by("crossmodal_problems_total", "code")
    yield
    assert by("crossmodal_problems_total", "code") - before == Counter(expected)


@contextmanager
def shedding(**expected: int) -> Iterator[None]:
    """Check that the block turns away so many requests for each reason, and none for another."""
    before = by("crossmodal_shed_total", "reason")
    yield
    assert by("crossmodal_shed_total", "reason") - before == Counter(expected)
