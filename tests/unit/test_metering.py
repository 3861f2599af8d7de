import asyncio

import pytest

from crossmodal import metering
from crossmodal.errors import RateLimited
from crossmodal.metering import Bucket, Buckets, Rate


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_bucket_is_full_at_first_fills_up_with_time_and_never_over_its_burst(clock: Clock) -> None:
    bucket = Bucket(Rate(2.0, 10.0), clock)
    assert bucket.balance == 10.0
    bucket.charge(4)
    clock.now += 1.5
    assert bucket.balance == 9.0
    clock.now += 3600
    assert bucket.balance == 10.0


def test_requests_are_admitted_on_a_positive_balance_and_cost_one(clock: Clock) -> None:
    bucket = Bucket(Rate(1.0, 2.0), clock)
    bucket.admit()
    bucket.admit()
    assert bucket.balance == 0.0
    with pytest.raises(RateLimited) as caught:
        bucket.admit()
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "rate_limited", 1)
    assert caught.value.shed == "rate"
    assert bucket.balance == 0.0, "a refused request is not charged"
    clock.now += 1
    bucket.admit()


@pytest.mark.parametrize(
    ("rate", "debt", "seconds"),
    [(1.0, 0.0, 1), (1.0, 2.0, 3), (1.0, 2.5, 3), (4.0, 2.0, 1), (4.0, 4.0, 2), (0.5, 2.0, 5), (100.0, 0.25, 1)],
)
def test_after_the_seconds_it_names_a_request_is_admitted_and_not_a_second_before(
    clock: Clock, rate: float, debt: float, seconds: int
) -> None:
    bucket = Bucket(Rate(rate, 10.0), clock)
    bucket.charge(10.0 + debt)
    assert bucket.balance == -debt
    with pytest.raises(RateLimited) as caught:
        bucket.admit()
    assert caught.value.retry_after == seconds
    clock.now += seconds - 1
    if seconds > 1:
        with pytest.raises(RateLimited):
            bucket.admit()
    clock.now += 1
    bucket.admit()


def test_a_clock_that_goes_back_gives_and_takes_nothing(clock: Clock) -> None:
    bucket = Bucket(Rate(1.0, 10.0), clock)
    bucket.charge(5)
    clock.now -= 100
    assert bucket.balance == 5.0
    clock.now += 100
    assert bucket.balance == 5.0
    clock.now += 1
    assert bucket.balance == 6.0


def test_a_new_rate_holds_from_now_on_and_the_balance_stays(clock: Clock) -> None:
    buckets = Buckets(clock)
    bucket = buckets.get("a", Rate(1.0, 10.0))
    bucket.charge(6)
    clock.now += 2
    assert buckets.get("a", Rate(100.0, 50.0)) is bucket
    assert bucket.balance == 6.0
    clock.now += 0.1
    assert bucket.balance == pytest.approx(16.0)
    assert buckets.get("a", Rate(1.0, 3.0)).balance == 3.0


def test_a_burst_that_is_not_given_is_ten_seconds_of_the_rate_and_at_least_one_unit() -> None:
    assert Rate.of(5.0, None) == Rate(5.0, 50.0)
    assert Rate.of(0.01, None) == Rate(0.01, 1.0)
    assert Rate.of(5.0, 7.0) == Rate(5.0, 7.0)


def test_only_the_names_that_are_kept_take_memory(clock: Clock) -> None:
    buckets = Buckets(clock)
    for number in range(1000):
        buckets.get(str(number), Rate(1.0, 1.0)).charge(5)
    buckets.keep({"7", "never seen"})
    assert len(buckets) == 1
    assert buckets.get("7", Rate(1.0, 1.0)).balance == -4.0
    assert buckets.get("8", Rate(1.0, 1.0)).balance == 1.0


async def test_work_is_charged_to_the_request_it_is_done_for_in_whatever_task(clock: Clock) -> None:
    first, second = (Bucket(Rate(1.0, 100.0), clock) for _ in range(2))

    async def work(items: int, megapixels: float) -> None:
        await asyncio.sleep(0)
        metering.charge(items=items, megapixels=megapixels)

    async def request(bucket: Bucket | None, items: int) -> None:
        metering.use(bucket)
        await asyncio.gather(*(asyncio.create_task(work(items, 0.5)) for _ in range(4)))

    await asyncio.gather(
        *(asyncio.create_task(request(bucket, items)) for bucket, items in ((first, 1), (second, 10), (None, 99)))
    )
    assert first.balance == 100 - 4 * 1.5
    assert second.balance == 100 - 4 * 10.5
    metering.charge(items=1000)
    assert (first.balance, second.balance) == (94.0, 58.0)
