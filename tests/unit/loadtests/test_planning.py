"""The queueing formulas: against known values, sums written out, and a simulation."""

import heapq
import math
import random
import re
import statistics
from fractions import Fraction

import pytest

from loadtests.__main__ import main
from loadtests.planning import Demand, cost_of_a_million, erlang_c, estimate, plan, table
from tools.servers import ROOT


@pytest.mark.parametrize(
    ("servers", "load", "expected"),
    [
        (1, 0.3, 0.3),  # M/M/1: the probability that it is busy
        (1, 0.99, 0.99),
        (2, 1.0, 1 / 3),
        (3, 2.0, 4 / 9),
        (5, 4.0, 0.5541),  # tables of Erlang C
        (10, 8.0, 0.4092),
        (4, 4.0, 1.0),
        (4, 9.0, 1.0),
    ],
)
def test_erlang_c_has_its_known_values(servers: int, load: float, expected: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("servers", "load"), [(7, Fraction(13, 2)), (20, Fraction(15)), (100, Fraction(90))])
def test_erlang_c_is_the_sum_that_defines_it(servers: int, load: Fraction) -> None:
    waiting = load**servers / math.factorial(servers) * servers / (servers - load)
    others = sum(load**count / math.factorial(count) for count in range(servers))
    assert erlang_c(servers, float(load)) == pytest.approx(float(waiting / (others + waiting)), rel=1e-9)


def simulated_wait(servers: int, rate: float, service: float, *, exponential: bool, count: int = 200_000) -> float:
    """Mean wait of arrivals at random, first come first served."""
    draw = random.Random(1)
    free, now, waits = [0.0] * servers, 0.0, []
    for _ in range(count):
        now += draw.expovariate(rate)
        began = max(now, heapq.heappop(free))
        waits.append(began - now)
        heapq.heappush(free, began + (draw.expovariate(1 / service) if exponential else service))
    return statistics.fmean(waits)


def test_waits_are_those_of_a_simulated_queue() -> None:
    of_exponential = estimate(Demand(rate=80, service=0.03, variation=1.0), replicas=3).wait
    assert of_exponential == pytest.approx(simulated_wait(3, 80, 0.03, exponential=True), rel=0.1)
    of_constant = estimate(Demand(rate=80, service=0.03, variation=0.0), replicas=3).wait
    assert of_constant == pytest.approx(of_exponential / 2)
    assert of_constant == pytest.approx(simulated_wait(3, 80, 0.03, exponential=False), rel=0.1)


def simulated_latency_of_batches(rate: float, fixed: float, each: float, most: int, count: int = 100_000) -> float:
    """Mean latency in one replica that runs, as soon as it is free, what has come, up to ``most`` at a time."""
    draw = random.Random(2)
    arrivals, now = [], 0.0
    for _ in range(count):
        now += draw.expovariate(rate)
        arrivals.append(now)
    free, first, total = 0.0, 0, 0.0
    while first < count:
        began = max(free, arrivals[first])
        last = first
        while last < count and arrivals[last] <= began and last - first < most:
            last += 1
        free = began + fixed + each * (last - first)
        total += sum(free - arrival for arrival in arrivals[first:last])
        first = last
    return total / count


@pytest.mark.parametrize(("utilisation", "least"), [(0.5, 0.2), (0.9, 0.4)])
def test_a_batcher_that_waits_for_nobody_is_no_slower_than_planned(utilisation: float, least: float) -> None:
    fixed, each, most = 0.05, 0.0125, 16
    demand = Demand(rate=utilisation * most / (fixed + each * most), service=fixed + each * most, batch=most)
    planned = estimate(demand, replicas=1)
    latency = planned.gathering + planned.wait + demand.service
    simulated = simulated_latency_of_batches(demand.rate, fixed, each, most)
    assert least * latency < simulated < 1.05 * latency
    assert planned.in_flight == pytest.approx(demand.rate * latency)  # Little's law


def test_a_plan_goes_up_to_the_first_that_suffices_and_the_spare_ones() -> None:
    demand = Demand(rate=500, service=0.03, variation=1.0)
    found = list(plan(demand, utilisation=0.8, wait=0.05))
    assert [each.replicas for each in found] == [16, 17, 18, 19]
    assert found[-1].utilisation == pytest.approx(15 / 19)
    assert found[0].wait_p99 > 0.05 > found[-1].wait_p99
    assert [each.replicas for each in plan(demand, utilisation=0.8, wait=0.05, spare=2)] == list(range(16, 22))
    slow = list(plan(demand, utilisation=0.99, wait=0.005))
    assert slow[-1].wait_p99 <= 0.005 < slow[-2].wait_p99


def test_a_hundredth_waits_longer_than_the_99th_percentile() -> None:
    found = estimate(Demand(rate=80, service=0.03, variation=1.0), replicas=3)
    longer = found.all_busy * math.exp(-found.wait_p99 * (3 - 2.4) / 0.03)
    assert longer == pytest.approx(0.01)
    assert estimate(Demand(rate=1, service=0.001), replicas=9).wait_p99 == 0


def test_the_target_of_an_autoscaler_is_a_batch_and_half_of_the_next() -> None:
    demand = Demand(rate=500, service=0.42, batch=16)
    assert demand.target(0.7) == pytest.approx(16.8)
    assert demand.target(0.7) == pytest.approx(estimate(demand, replicas=19).in_flight, rel=0.03)
    assert Demand(rate=500, service=0.03).target(0.7) == pytest.approx(0.7)


def test_what_a_million_cost() -> None:
    assert cost_of_a_million(Demand(rate=1_000_000 / 3600, service=0.001), replicas=3, price=0.5) == pytest.approx(1.5)


def test_too_few_replicas_have_no_estimate() -> None:
    with pytest.raises(ValueError, match=r"2 replicas cannot keep up with a load of 2\.00"):
        estimate(Demand(rate=100, service=0.02), replicas=2)
    with pytest.raises(ValueError, match="more than 10000 replicas"):
        list(plan(Demand(rate=1e7, service=1.0), utilisation=0.7, wait=0.1))


def test_the_command_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--rate", "500", "--service-ms", "420", "--batch", "16", "--price", "0.5"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "500 items a second, 16 in 420 ms: 13.12 replicas are busy"
    assert lines[-2].startswith("| 19 | 69% |")
    assert lines[-2].endswith("| 5.28 |")
    assert lines[-1].startswith("plan: 19 replicas; 17 items in flight in each")
    with pytest.raises(SystemExit):
        main(["plan", "--rate", "5000", "--service-ms", "31", "--batch", "128"])
    assert "replicas; 134 items in flight in each" in capsys.readouterr().out.splitlines()[-1]


def test_the_table_of_the_document_is_what_the_formulas_give() -> None:
    document = (ROOT / "docs" / "autoscaling.md").read_text()
    rows = re.findall(
        r"^\| (?:pictures|texts), [^|]*\| (\d+) \| ([\d.]+) \| ([\d.]+) \| (.*) \|$", document, re.MULTILINE
    )
    assert len(rows) == 5
    for batch, milliseconds, price, said in rows:
        for rate, cell in zip((100, 500, 5000), said.split(" | "), strict=True):
            demand = Demand(rate, float(milliseconds) / 1000, int(batch))
            *_, found = plan(demand, utilisation=0.7, wait=0.1, spare=1)
            cost = cost_of_a_million(demand, found.replicas, float(price))
            assert cell == f"{found.replicas}: {cost:.2f}"
    demand = Demand(500, 0.421, 16)
    printed = table(demand, list(plan(demand, utilisation=0.7, wait=0.1)), utilisation=0.7, price=0.1)
    assert "\n".join(f"    {line}" for line in printed) in document
