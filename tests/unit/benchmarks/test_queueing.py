"""The simulation against what queueing theory says of the same queue."""

import pytest

from benchmarks.queueing import percentiles


def test_without_waiting_the_answer_takes_the_service_time() -> None:
    p50, p99 = percentiles(0.01, 0.01, 1, rate=0.01, count=20_000)
    assert p50 == pytest.approx(0.02)
    assert p99 == pytest.approx(0.02)


def test_the_median_of_a_deterministic_queue_at_half_load() -> None:
    # M/D/1 at load 1/2: every second arrival finds nobody before it, and takes the service time alone.
    p50, _ = percentiles(0.0, 1.0, 1, rate=0.5)
    assert p50 == pytest.approx(1.0, abs=0.02)


def test_batches_take_what_one_by_one_cannot_be_taken() -> None:
    with pytest.raises(ValueError, match="more than batches of 1 can take"):
        percentiles(0.004, 0.002, 1, rate=250)
    p50, p99 = percentiles(0.004, 0.002, 16, rate=250)
    assert 0.006 < p50 < p99 < 0.1
