"""Batches carried to a device: padded, recorded, in pieces, several at a time; and what happens when that goes wrong."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from crossmodal.clip.buckets import IMAGE_ITEMS, TEXT_ITEMS, Shape, closest, image_shapes, text_shapes
from crossmodal.clip.conveyor import Batch, Conveyor, Tower
from tests.unit.clip.host_accelerator import HostAccelerator

LEAST = 0.999


class Sums:
    """A tower: of each row the unit vector to (sum, length of the row that is not zero, 1); counts its calls."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.broken = False

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(batch.shape))
        if self.broken:
            raise RuntimeError("the tower is broken")
        rows = torch.stack([batch.sum(1), (batch != 0).sum(1), torch.ones(len(batch))], dim=1).float()
        return torch.nn.functional.normalize(rows, dim=-1)


def expected(batch: Batch) -> Any:
    return Sums()(torch.from_numpy(batch)).numpy()


def example(shape: Shape) -> Batch:
    return np.arange(1, 1 + int(np.prod(shape)), dtype=np.int64).reshape(shape)


def recorded(accelerator: HostAccelerator, *shapes: Shape, most: int = 8) -> tuple[Tower, Sums]:
    rows = Sums()
    tower = Tower("texts", rows, most=most)
    tower.record(accelerator, shapes, example, LEAST)
    accelerator.replayed.clear()
    accelerator.steps.clear()
    accelerator.allocated.clear()
    rows.shapes.clear()
    return tower, rows


def test_a_batch_is_padded_to_the_next_recording_and_only_its_rows_come_back() -> None:
    accelerator = HostAccelerator()
    tower, _ = recorded(accelerator, (8, 6), (4, 6), (4, 3))
    conveyor = Conveyor(accelerator)
    for shape, bucket in (((3, 2), (4, 3)), ((4, 3), (4, 3)), ((1, 4), (4, 6)), ((5, 1), (8, 6))):
        batch = example(shape)
        np.testing.assert_array_equal(conveyor.carry(tower, batch), expected(batch))
        assert accelerator.replayed.pop() == bucket
    assert accelerator.replayed == []


def test_what_an_earlier_batch_left_changes_nothing() -> None:
    accelerator = HostAccelerator()
    tower, _ = recorded(accelerator, (4, 6))
    conveyor = Conveyor(accelerator)
    conveyor.carry(tower, np.full((4, 6), 1000, dtype=np.int64))
    batch = example((2, 3))
    np.testing.assert_array_equal(conveyor.carry(tower, batch), expected(batch))


def test_a_batch_that_fits_no_recording_is_run_as_it_is() -> None:
    accelerator = HostAccelerator()
    tower, rows = recorded(accelerator, (2, 3))
    batch = example((2, 5))
    np.testing.assert_array_equal(Conveyor(accelerator).carry(tower, batch), expected(batch))
    assert rows.shapes == [(2, 5)]
    assert accelerator.replayed == []


def test_a_large_batch_goes_in_pieces() -> None:
    accelerator = HostAccelerator()
    tower, _ = recorded(accelerator, (8, 3), (2, 3))
    batch = example((18, 3))
    np.testing.assert_array_equal(Conveyor(accelerator).carry(tower, batch), expected(batch))
    assert accelerator.replayed == [(8, 3), (8, 3), (2, 3)]


def test_the_steps_stand_in_order_and_items_that_are_missing_are_not_sent() -> None:
    accelerator = HostAccelerator()
    tower, _ = recorded(accelerator, (8, 4))
    Conveyor(accelerator).carry(tower, example((3, 2)))
    assert accelerator.steps == ["upload", "compute", "download", "wait"]
    assert accelerator.allocated == [3 * 4 * 8, 3 * 4 * 8, 3 * 3 * 4]  # to send, sent, rows


def test_memory_is_used_again_and_only_grows() -> None:
    accelerator = HostAccelerator()
    tower, _ = recorded(accelerator, (8, 4))
    accelerator.calls = 1
    conveyor = Conveyor(accelerator)
    for items in (4, 2, 4, 8, 1, 8):
        conveyor.carry(tower, example((items, 4)))
    assert accelerator.allocated == [4 * 32, 4 * 32, 4 * 12, 8 * 32, 8 * 32, 8 * 12]


def test_a_batch_of_every_layout_is_taken() -> None:
    accelerator = HostAccelerator()
    tower, _ = recorded(accelerator, (4, 3))
    batch = example((3, 8))[:, :3]
    assert not batch.flags.c_contiguous
    np.testing.assert_array_equal(Conveyor(accelerator).carry(tower, batch), expected(batch))


def test_calls_at_once_do_not_mix_and_one_computes_at_a_time() -> None:
    accelerator = HostAccelerator()
    tower, _ = recorded(accelerator, (8, 4))
    conveyor = Conveyor(accelerator)
    batches = [example((1 + number % 8, 4)) + number for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: conveyor.carry(tower, batch), batches))
    for ours, batch in zip(found, batches, strict=True):
        np.testing.assert_array_equal(ours, expected(batch))
    assert accelerator.most_computing == 1


def test_no_more_calls_are_under_way_than_the_device_takes() -> None:
    accelerator = HostAccelerator()
    release, waiting = threading.Event(), threading.Semaphore(0)

    class Held(Sums):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            waiting.release()
            assert release.wait(10)
            return super().__call__(batch)

    conveyor, tower = Conveyor(accelerator), Tower("texts", Held(), most=8)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(conveyor.carry, tower, example((1, 2))) for _ in range(3)]
        assert waiting.acquire(timeout=10)
        assert accelerator.steps.count("upload") <= 2
        release.set()
        assert [call.result(10).shape for call in calls] == [(1, 3)] * 3
    assert accelerator.steps.count("upload") == 3


def test_a_call_that_fails_leaves_its_place_to_the_next() -> None:
    accelerator = HostAccelerator()
    accelerator.calls = 1
    rows = Sums()
    conveyor, tower = Conveyor(accelerator), Tower("texts", rows, most=8)
    rows.broken = True
    with pytest.raises(RuntimeError, match="the tower is broken"):
        conveyor.carry(tower, example((2, 3)))
    rows.broken = False
    batch = example((2, 3))
    np.testing.assert_array_equal(conveyor.carry(tower, batch), expected(batch))


def test_recordings_that_embed_otherwise_are_not_used() -> None:
    accelerator = HostAccelerator(wrong=True)
    with capture_logs() as logs:
        tower, _ = recorded(accelerator, (8, 4), (4, 4))
    (warning,) = logs
    assert (warning["event"], warning["log_level"], warning["tower"]) == (
        "clip_recordings_not_used",
        "warning",
        "texts",
    )
    assert "batches (8, 4) come out otherwise: cosine" in warning["reason"]
    assert tower.recorded == ()
    batch = example((3, 4))
    np.testing.assert_array_equal(Conveyor(accelerator).carry(tower, batch), expected(batch))


def test_a_tower_that_cannot_be_recorded_is_run_itself() -> None:
    accelerator = HostAccelerator(unrecordable=True)
    with capture_logs() as logs:
        tower, _ = recorded(accelerator, (8, 4))
    assert [line["reason"] for line in logs] == ["operation not permitted when the stream is capturing"]
    assert tower.recorded == ()
    batch = example((3, 4))
    np.testing.assert_array_equal(Conveyor(accelerator).carry(tower, batch), expected(batch))


def test_recordings_that_do_not_fit_into_memory_are_left_out() -> None:
    with capture_logs() as logs:
        tower, _ = recorded(HostAccelerator(too_large=4), (8, 4), (4, 4), (2, 4))
    assert [(line["event"], line["log_level"], line["shape"]) for line in logs] == [
        ("clip_recording_too_large", "info", (8, 4)),
        ("clip_recording_too_large", "info", (4, 4)),
    ]
    assert tower.recorded == ((2, 4),)


def test_a_replay_that_fails_while_serving_is_the_last_one() -> None:
    accelerator = HostAccelerator(replays_until_failure=2)
    tower, rows = recorded(accelerator, (4, 4))
    conveyor, batch = Conveyor(accelerator), example((3, 4))
    np.testing.assert_array_equal(conveyor.carry(tower, batch), expected(batch))
    rows.shapes.clear()
    with capture_logs() as logs:
        for _ in range(2):
            np.testing.assert_array_equal(conveyor.carry(tower, batch), expected(batch))
    assert [line["reason"] for line in logs] == ["the device is gone"]
    assert rows.shapes == [(3, 4), (3, 4)]


def test_no_picture_bucket_wastes_more_than_a_third() -> None:
    for items in range(8, IMAGE_ITEMS[-1] + 1):
        bucket = closest((items, 32, 32, 3), image_shapes(32))
        assert bucket is not None
        assert items / bucket[0] > 2 / 3 - 1e-9
    assert closest((129, 32, 32, 3), image_shapes(32)) is None


def test_buckets_come_largest_first() -> None:
    assert image_shapes(224)[0] == (128, 224, 224, 3)
    assert image_shapes(224)[-1] == (1, 224, 224, 3)
    shapes = text_shapes(77, any_length=True)
    assert (shapes[0], shapes[-1]) == ((256, 77), (1, 16))
    assert len(shapes) == 3 * len(TEXT_ITEMS)


def test_texts_have_buckets_by_length_where_the_tower_may_be_cut() -> None:
    shapes = text_shapes(77, any_length=True)
    assert closest((3, 9), shapes) == (4, 16)
    assert closest((3, 17), shapes) == (4, 32)
    assert closest((1, 33), shapes) == (1, 77)
    assert {shape[1] for shape in text_shapes(77, any_length=False)} == {77}
    assert {shape[1] for shape in text_shapes(16, any_length=True)} == {16}
