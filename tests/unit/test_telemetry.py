import asyncio
import json
import sys
import time
from contextlib import suppress

import pytest
import structlog
from prometheus_client import REGISTRY

from crossmodal import telemetry
from crossmodal.errors import NotFound, Overloaded, StoreUnavailable, error_codes
from tests.metrics import sample, shedding


async def test_stages_add_up_within_a_request_and_not_across() -> None:
    async def request(seconds: float) -> dict[str, float]:
        token = telemetry.start_stages()
        telemetry.record_stage("embed", seconds)
        await asyncio.gather(*(part(seconds) for _ in range(2)))
        collected = dict(telemetry.current_stages())
        telemetry.end_stages(token)
        return collected

    async def part(seconds: float) -> None:
        telemetry.record_stage("store", seconds)

    first, second = await asyncio.gather(asyncio.create_task(request(1.0)), asyncio.create_task(request(0.25)))
    assert first == {"embed": 1.0, "store": 2.0}
    assert second == {"embed": 0.25, "store": 0.5}
    assert telemetry.current_stages() == {}


def test_server_timing_is_in_milliseconds_and_in_order() -> None:
    assert telemetry.server_timing({"store": 0.002, "decode": 0.0105}) == "decode;dur=10.5, store;dur=2.0"
    assert telemetry.server_timing({}) == ""


def test_a_failed_stage_is_timed_too() -> None:
    before = sample("crossmodal_stage_seconds_count", stage="store")
    with pytest.raises(RuntimeError), telemetry.stage("store"):
        raise RuntimeError
    assert sample("crossmodal_stage_seconds_count", stage="store") == before + 1


def test_a_problem_is_counted_by_its_code_and_a_shed_by_its_limit() -> None:
    before = sample("crossmodal_problems_total", code="overloaded")
    with shedding(other=1):
        telemetry.count_problem(Overloaded("full"))
        telemetry.count_problem(NotFound("nothing"))
    assert sample("crossmodal_problems_total", code="overloaded") == before + 1


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (None, 0),
        (StoreUnavailable("gone"), 1),
        (RuntimeError("broken"), 1),
        (NotFound("the caller's fault"), 0),
        (asyncio.CancelledError(), 0),
    ],
)
def test_uses_of_the_store_are_timed_and_its_own_failures_counted(error: BaseException | None, failures: int) -> None:
    def counts() -> tuple[float, float]:
        return (
            sample("crossmodal_store_seconds_count", operation="scroll"),
            sample("crossmodal_store_failures_total", operation="scroll"),
        )

    uses, failed = counts()
    with suppress(BaseException), telemetry.store_use("memory", "scroll", 3):
        if error is not None:
            raise error
    assert counts() == (uses + 1, failed + failures)


def test_waiting_is_counted_by_what_waits() -> None:
    before = sample("crossmodal_queue_seconds_sum", kind="text", lane="bulk")
    telemetry.record_wait("text", "bulk", 0.25)
    assert sample("crossmodal_queue_seconds_sum", kind="text", lane="bulk") == before + 0.25


def test_batches_are_counted() -> None:
    before = sample("crossmodal_batch_items_sum", kind="text", lane="bulk")
    telemetry.BatchMetrics().on_batch("text", "bulk", items=7, seconds=0.1, queued=3)
    assert sample("crossmodal_batch_items_sum", kind="text", lane="bulk") == before + 7
    assert sample("crossmodal_queued_items") == 3


def test_items_are_in_flight_while_they_wait_and_run_whatever_comes_of_them() -> None:
    before = sample("crossmodal_item_seconds_total")

    def fail() -> None:
        with telemetry.in_model(50):
            time.sleep(0.02)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert 50 * 0.02 <= sample("crossmodal_item_seconds_total") - before < 50 * 5


def test_a_log_line_is_json_with_the_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging()
    token = telemetry.request_id.set("abc")
    structlog.get_logger().info("something", count=3)
    telemetry.request_id.reset(token)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["count"], line["request_id"], line["level"]) == ("something", 3, "abc", "info")


def test_a_log_that_cannot_be_written_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8", buffering=1) as full:  # noqa: PTH123 -- says "no space left"
        monkeypatch.setattr(sys, "stderr", full)
        telemetry.configure_logging()
        structlog.get_logger().warning("nobody will read this")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    telemetry.configure_logging()


def test_a_request_is_counted_by_who_waits_and_by_class_of_status() -> None:
    def counts() -> tuple[float, float, float]:
        labels = {"work": "interactive", "status": "4xx"}
        return (
            sample("crossmodal_request_seconds_bucket", **labels, le="0.25"),
            sample("crossmodal_request_seconds_bucket", **labels, le="0.5"),
            sample("crossmodal_request_seconds_count", work="bulk", status="none"),
        )

    before = counts()
    telemetry.count_request("interactive", 404, 0.3)
    telemetry.count_request("bulk", 0, 0.3)
    fast, slow, none = (after - earlier for after, earlier in zip(counts(), before, strict=True))
    assert (fast, slow, none) == (0, 1, 1)


def test_a_request_is_in_flight_until_it_ends() -> None:
    before = sample("crossmodal_requests_in_flight")
    with suppress(ValueError), telemetry.in_flight():
        assert sample("crossmodal_requests_in_flight") == before + 1
        raise ValueError
    assert sample("crossmodal_requests_in_flight") == before


def test_the_model_and_whether_it_is_ready_are_shown() -> None:
    telemetry.show_model(model="m", fingerprint="f", device="cpu", precision="fp32")
    assert sample("crossmodal_model_info", model="m", fingerprint="f", device="cpu", precision="fp32") == 1
    telemetry.show_ready(ready=True)
    assert sample("crossmodal_ready") == 1
    telemetry.show_ready(ready=False)
    assert sample("crossmodal_ready") == 0


def test_series_of_what_alerts_look_for_are_there_before_the_first_of_a_kind() -> None:
    for code in error_codes():
        assert REGISTRY.get_sample_value("crossmodal_problems_total", {"code": code}) is not None
    for reason in ("deadline", "crash", "fault"):
        assert REGISTRY.get_sample_value("crossmodal_lost_decoders_total", {"reason": reason}) is not None
    labels = {"work": "interactive", "status": "5xx"}
    assert REGISTRY.get_sample_value("crossmodal_request_seconds_count", labels) is not None
