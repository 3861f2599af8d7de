"""How many replicas a rate takes, how long requests wait then, and what a million cost: queueing formulas, no measurement.

Replicas are servers of one queue, which a balancer that gives each request to the least busy comes near. The probability that
all are busy is Erlang's C formula (Erlang 1917; Gross et al., Fundamentals of Queueing Theory, M/M/c); how long a batch
waits then is scaled by Allen and Cunneen's approximation for G/G/c (Allen, Probability, Statistics and Queueing Theory):
by half the sum of the squared coefficients of variation of the times between arrivals and of the service times. Every b-th of
arrivals at random makes a batch of b: the times between those have 1/b.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

HOUR = 3600.0
MILLION = 1_000_000
P99 = 0.01
MOST_REPLICAS = 10_000


def erlang_c(servers: int, load: float) -> float:
    """The probability, 0 to 1, that all ``servers`` >= 1 are busy; ``load`` > 0 is arrivals times service time, in Erlang.

    1 where the load is not below the number of servers: the queue grows without end. By Erlang B's recursion.
    """
    if load >= servers:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return servers * blocked / (servers - load * (1 - blocked))


@dataclass(frozen=True, slots=True)
class Demand:
    """``rate`` items a second, of which a replica computes ``batch`` >= 1 in ``service`` seconds.

    ``variation`` is the squared coefficient of variation of that time: 0 where the same work takes the same time, 1 for the
    exponential times of M/M/c.
    """

    rate: float
    service: float
    batch: int = 1
    variation: float = 0.0

    @property
    def load(self) -> float:
        """Replicas that are busy on average, in Erlang."""
        return self.rate / self.batch * self.service

    def target(self, utilisation: float) -> float:
        """Items in flight in a replica that is busy for that share (0 to 1) of the time with whole batches.

        One batch that it computes, and half of the next, which gathers meanwhile. A batcher that does not wait for whole batches
        has fewer in flight until it is nearly full: where this is to be exact it has to be measured.
        """
        return utilisation * self.batch * (1 if self.batch == 1 else 1.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What ``replicas`` make of a demand: shares 0 to 1, seconds, items."""

    replicas: int
    utilisation: float
    all_busy: float
    gathering: float
    """Mean time until the batch is complete; our batcher runs what there is instead, and an item then waits for the end of the
    batch that runs, on average half of it, which is the most that counts here."""
    wait: float
    """Mean time from there until a replica is free."""
    wait_p99: float
    in_flight: float
    """Mean number of items in a replica, those that wait for it included (Little's law)."""


def estimate(demand: Demand, replicas: int) -> Estimate:
    """What so many make of it. Raises ``ValueError`` where they cannot keep up."""
    if demand.load >= replicas:
        raise ValueError(f"{replicas} replicas cannot keep up with a load of {demand.load:.2f}")
    busy = erlang_c(replicas, demand.load)
    scale = (1 / demand.batch + demand.variation) / 2
    if_busy = demand.service / (replicas - demand.load) * scale
    gathering = min((demand.batch - 1) * replicas / (2 * demand.rate), demand.service / 2)
    wait = busy * if_busy
    return Estimate(
        replicas=replicas,
        utilisation=demand.load / replicas,
        all_busy=busy,
        gathering=gathering,
        wait=wait,
        wait_p99=max(0.0, if_busy * math.log(busy / P99)) if busy > 0 else 0.0,
        in_flight=demand.rate / replicas * (gathering + wait + demand.service),
    )


def plan(demand: Demand, *, utilisation: float, wait: float, spare: int = 0) -> Iterator[Estimate]:
    """Estimates from the fewest replicas that keep up to what is needed.

    Needed: busy for at most ``utilisation`` (0 to 1) of the time, 99 of 100 waiting at most ``wait`` seconds, and ``spare``
    more. Raises ``ValueError`` for more than 10,000.
    """
    replicas, missing = math.floor(demand.load) + 1, None
    while missing is None or missing > 0:
        if replicas > MOST_REPLICAS:
            raise ValueError(f"more than {MOST_REPLICAS} replicas")
        found = estimate(demand, replicas)
        yield found
        if missing is not None:
            missing -= 1
        elif found.utilisation <= utilisation and found.wait_p99 <= wait:
            missing = spare
        replicas += 1


def cost_of_a_million(demand: Demand, replicas: int, price: float) -> float:
    """What a million items cost where a replica costs ``price`` an hour."""
    return replicas * price / (demand.rate * HOUR) * MILLION


def table(demand: Demand, estimates: list[Estimate], *, utilisation: float, price: float) -> list[str]:
    """What is printed; the last of ``estimates`` is the plan for ``utilisation`` (0 to 1)."""
    found = [
        f"{demand.rate:g} items a second, {demand.batch} in {demand.service * 1000:g} ms: {demand.load:.2f} replicas are busy",
        "| replicas | utilisation | all busy | gathering, ms | wait, ms | wait p99, ms | in flight in each | a million cost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in estimates:
        milliseconds = (f"{seconds * 1000:.1f}" for seconds in (each.gathering, each.wait, each.wait_p99))
        cells = [
            str(each.replicas),
            f"{each.utilisation:.0%}",
            f"{each.all_busy:.1%}",
            *milliseconds,
            f"{each.in_flight:.1f}",
            f"{cost_of_a_million(demand, each.replicas, price):.2f}",
        ]
        found.append(f"| {' | '.join(cells)} |")
    wanted = demand.target(utilisation)
    shown = f"{wanted:.0f}" if wanted >= 10 else f"{wanted:.2g}"  # noqa: PLR2004 -- two digits are enough
    target = f"{shown} items in flight in each, where batches are whole, are {utilisation:.0%}"
    return [*found, f"plan: {estimates[-1].replicas} replicas; {target}: a target for an autoscaler"]
