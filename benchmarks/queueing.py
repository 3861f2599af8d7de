"""What waiting costs, whoever serves: `python -m benchmarks.queueing`.

Arrivals at random times (a Poisson process) at one server that takes whatever waits, up to a limit, and needs ``fixed`` plus
``each`` times the number of items for it. Printed: 50th and 99th percentile of the time from arrival to answer, and their
ratio, at 70 % of the server's most. With a limit of 1 that is the queue M/D/1. No service that answers in the order of
arrival can do better than this with such a model; what the real one does beside it is its own.
"""

import argparse

import numpy as np

ARRIVALS = 200_000
LOAD = 0.7
KINDS = {"image": (0.005, 0.026), "text": (0.004, 0.0022)}
"""Seconds of ViT-B-32 in OpenVINO bf16 on two cores: a batch at all, and each item of it (docs/performance.md)."""
LIMITS = (1, 2, 4, 8, 16)


def percentiles(fixed: float, each: float, limit: int, rate: float, *, count: int = ARRIVALS) -> tuple[float, float]:
    """Seconds from arrival to answer, 50th and 99th percentile, of ``count`` arrivals at ``rate`` a second.

    Raises ``ValueError`` where more arrives than batches of ``limit`` can take.
    """
    if rate * (fixed / limit + each) >= 1:
        raise ValueError(f"{rate:.1f} a second are more than batches of {limit} can take")
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / rate, count))
    taken, free, times = 0, 0.0, np.empty(count)
    while taken < count:
        start = max(free, arrivals[taken])
        waiting = int(np.searchsorted(arrivals, start, side="right"))
        end = min(max(waiting, taken + 1), taken + limit)
        free = start + fixed + each * (end - taken)
        times[taken:end] = free - arrivals[taken:end]
        taken = end
    p50, p99 = np.percentile(times, (50, 99))
    return float(p50), float(p99)


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| kind | batches of at most | arrivals, /s | p50, ms | p99, ms | p99/p50 |\n|---|---|---|---|---|---|")
    for kind, (fixed, each) in KINDS.items():
        rate = LOAD / (fixed / LIMITS[-1] + each)
        for limit in LIMITS:
            try:
                p50, p99 = percentiles(fixed, each, limit, rate)
            except ValueError:
                print(f"| {kind} | {limit} | {rate:.1f} | more than it can take | | |")
            else:
                print(f"| {kind} | {limit} | {rate:.1f} | {p50 * 1000:.0f} | {p99 * 1000:.0f} | {p99 / p50:.1f} |")


if __name__ == "__main__":
    main()
