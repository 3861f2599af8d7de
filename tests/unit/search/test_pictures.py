"""The reader: bounded, off the event loop, and whole again after pictures that hang or kill a decoder."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import cast

import numpy as np
import pytest

from crossmodal import metering
from crossmodal.batching import BULK_TURN, Lane
from crossmodal.errors import DeadlineExceeded, ImageTooLarge, ImageUndecodable, Overloaded
from crossmodal.imaging import ImageLimits, media_type
from crossmodal.imaging.decoder import Decoder
from crossmodal.metering import Bucket, Rate
from crossmodal.records import Preprocessing, hash_content
from crossmodal.search.pictures import PictureReader, _Turns
from tests.metrics import sample
from tests.pictures import BLUE, GREEN, RED, encoded, many_scans, png_bomb, solid

PREPARING = Preprocessing(32, "bicubic", "shortest", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SMALL = encoded(solid(RED, (40, 30)), "PNG")


@pytest.fixture
async def reader() -> AsyncIterator[PictureReader]:
    reader = PictureReader(ImageLimits(), workers=2, max_queued=8, deadline=0.5)
    yield reader
    reader.close()


def pids(reader: PictureReader) -> list[int]:
    return [decoder.pid for decoder in reader._decoders if decoder.pid is not None]


async def test_a_picture_with_all_that_is_made_of_it(reader: PictureReader) -> None:
    picture = await reader.read(SMALL, PREPARING, thumbnail=True)
    assert picture.content == SMALL
    assert picture.content_hash == ""
    hashed = await reader.read(SMALL, PREPARING, hashed=True)
    assert hashed.content_hash == hash_content(SMALL) == await reader.hash(SMALL)
    assert picture.pixels.shape == (32, 32, 3)
    assert (picture.pixels == RED).all()
    assert media_type(picture.thumbnail) == "image/webp"
    assert picture.megapixels == pytest.approx(0.0012)
    assert (await reader.read(SMALL, PREPARING)).thumbnail == b""


async def test_only_as_many_processes_as_are_needed(reader: PictureReader) -> None:
    assert pids(reader) == []
    for _ in range(3):
        await reader.read(SMALL, PREPARING)
    assert len(pids(reader)) == 1
    await reader.start()
    assert len(pids(reader)) == 2


async def test_each_gets_its_own_answer(reader: PictureReader) -> None:
    colours = [RED, GREEN, BLUE] * 3
    answers = await asyncio.gather(*(reader.read(encoded(solid(each), "PNG"), PREPARING) for each in colours))
    assert [tuple(answer.pixels[0, 0]) for answer in answers] == colours


async def test_bombs_are_refused_side_by_side(reader: PictureReader) -> None:
    answers = await asyncio.gather(*(reader.read(png_bomb(), PREPARING) for _ in range(9)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ImageTooLarge] * 9


async def test_other_pictures_are_read_while_one_hangs(reader: PictureReader) -> None:
    await reader.start()
    slow = asyncio.create_task(reader.read(many_scans(90), PREPARING))
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(reader.read(SMALL, PREPARING) for _ in range(6)))
    assert all((answer.pixels == RED).all() for answer in answers)
    assert not slow.done()
    with pytest.raises(ImageUndecodable, match=r"takes too long to decode: over 0.5 s"):
        await slow


async def test_the_pool_heals_after_every_decoder_hung(reader: PictureReader) -> None:
    await reader.start()
    for pid in pids(reader):
        os.kill(pid, signal.SIGSTOP)
    answers = await asyncio.gather(*(reader.read(SMALL, PREPARING) for _ in range(4)), return_exceptions=True)
    kinds = sorted(type(answer).__name__ for answer in answers)
    assert kinds == ["DeadlineExceeded", "DeadlineExceeded", "Picture", "Picture"]
    assert ((await reader.read(SMALL, PREPARING)).pixels == RED).all()


async def test_the_event_loop_runs_on_while_pictures_hang(reader: PictureReader) -> None:
    await reader.start()
    for pid in pids(reader):
        os.kill(pid, signal.SIGSTOP)
    hung = [asyncio.create_task(reader.read(SMALL, PREPARING)) for _ in range(2)]
    turns = 0
    while not all(task.done() for task in hung):
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 20  # of the 300 that fit into three seconds
    assert [type(task.exception()) for task in hung] == [DeadlineExceeded] * 2


async def test_too_many_waiting_are_refused(reader: PictureReader) -> None:
    await reader.start()
    for pid in pids(reader):
        os.kill(pid, signal.SIGSTOP)
    tasks = [asyncio.create_task(reader.read(SMALL, PREPARING)) for _ in range(2 + 8)]
    await asyncio.sleep(0.05)
    with pytest.raises(Overloaded, match="8 pictures wait") as refused:
        await reader.read(SMALL, PREPARING)
    assert refused.value.shed == "decoders"
    for pid in pids(reader):
        os.kill(pid, signal.SIGCONT)
    waits = sample("crossmodal_queue_seconds_count", kind="decoder", lane="interactive")
    answers = await asyncio.gather(*tasks)
    assert all((answer.pixels == RED).all() for answer in answers)
    assert sample("crossmodal_queue_seconds_count", kind="decoder", lane="interactive") == waits + 8


async def test_who_leaves_the_queue_makes_room_and_is_not_decoded(reader: PictureReader) -> None:
    await reader.start()
    for pid in pids(reader):
        os.kill(pid, signal.SIGSTOP)
    running = [asyncio.create_task(reader.read(SMALL, PREPARING)) for _ in range(2)]
    waiting = [asyncio.create_task(reader.read(SMALL, PREPARING)) for _ in range(8)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert reader._queued == 0
    late = asyncio.create_task(reader.read(encoded(solid(BLUE), "PNG"), PREPARING))
    for pid in pids(reader):
        os.kill(pid, signal.SIGCONT)
    assert ((await late).pixels == BLUE).all()
    assert all(not isinstance(each, BaseException) for each in await asyncio.gather(*running))


async def test_a_client_that_leaves_during_decoding_gives_its_decoder_back(reader: PictureReader) -> None:
    await reader.start()
    for pid in pids(reader):
        os.kill(pid, signal.SIGSTOP)
    left = [asyncio.create_task(reader.read(SMALL, PREPARING)) for _ in range(2)]
    await asyncio.sleep(0.05)
    for task in left:
        task.cancel()
    late = asyncio.create_task(reader.read(encoded(solid(BLUE), "PNG"), PREPARING))
    await asyncio.sleep(0.05)
    assert not late.done()  # both decoders are still busy with what was left behind
    for pid in pids(reader):
        os.kill(pid, signal.SIGCONT)
    assert ((await late).pixels == BLUE).all()
    assert all(task.cancelled() for task in left)


async def test_close_leaves_no_process_behind() -> None:
    reader = PictureReader(ImageLimits(), workers=2, max_queued=8, deadline=60)
    await reader.start()
    running = pids(reader)
    os.kill(running[0], signal.SIGSTOP)
    os.kill(running[1], signal.SIGSTOP)
    task = asyncio.create_task(reader.read(SMALL, PREPARING))
    await asyncio.sleep(0.05)
    reader.close()
    with pytest.raises(Overloaded, match="stopping"):
        await task
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_pictures_that_come_or_wait_when_it_closes_are_told_so() -> None:
    reader = PictureReader(ImageLimits(), workers=1, max_queued=8, deadline=5)
    await reader.start()
    waiting = [asyncio.create_task(reader.read(many_scans(90), PREPARING)) for _ in range(3)]
    await asyncio.sleep(0.1)
    await asyncio.to_thread(reader.close)
    answers = await asyncio.gather(*waiting, reader.read(SMALL, PREPARING), reader.hash(SMALL), return_exceptions=True)
    assert [(type(answer), str(answer)) for answer in answers] == [(Overloaded, "the service is stopping")] * 5


async def test_hashes_that_wait_when_it_closes_are_told_so() -> None:
    reader = PictureReader(ImageLimits(), workers=1, max_queued=8)
    content = bytes(20 * 2**20)
    waiting = [asyncio.create_task(reader.hash(content)) for _ in range(5)]
    await asyncio.sleep(0)
    reader.close()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert answers[0] == hash_content(content)
    assert all(str(answer) == "the service is stopping" for answer in answers[1:]), answers


async def test_both_profiles_through_one_process(reader: PictureReader) -> None:
    image = solid(RED, (40, 40)).convert("RGBA")
    image.putalpha(0)
    content = encoded(image, "PNG")
    reference = Preprocessing(32, "bicubic", "shortest", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0, "reference")
    shown, hidden = [(await reader.read(content, each)).pixels for each in (PREPARING, reference)]
    assert (shown == 255).all()
    assert not np.array_equal(hidden, shown)


async def test_a_picture_that_fails_late_is_charged_for_its_time(reader: PictureReader) -> None:
    bucket = Bucket(Rate(1.0, 100.0), clock=lambda: 0.0)
    metering.use(bucket)
    try:
        with pytest.raises(ImageUndecodable):
            await reader.read(many_scans(90), PREPARING)
    finally:
        metering.use(None)
    assert bucket.balance < 100 - 10  # half a second of a decoder


class Idle:
    """Stands for a decoder where only whose turn it is matters."""


async def test_interactive_pictures_go_before_bulk_ones_which_are_not_starved() -> None:
    turns = _Turns([cast("Decoder", Idle())])
    order: list[str] = []

    async def decode(name: str, lane: Lane) -> None:
        decoder = await turns.take(lane)
        order.append(name)
        await asyncio.sleep(0)
        turns.give(decoder)

    held = await turns.take(Lane.BULK)
    work = [decode(f"bulk {number}", Lane.BULK) for number in range(2)]
    work += [decode(f"{number}", Lane.INTERACTIVE) for number in range(BULK_TURN + 2)]
    tasks = [asyncio.create_task(each) for each in work]
    await asyncio.sleep(0)
    turns.give(held)
    await asyncio.gather(*tasks)
    assert order == [*map(str, range(BULK_TURN)), "bulk 0", str(BULK_TURN), str(BULK_TURN + 1), "bulk 1"]


async def test_a_turn_given_to_who_left_goes_to_the_next() -> None:
    turns = _Turns([cast("Decoder", Idle())])
    held = await turns.take(Lane.INTERACTIVE)
    leaving = asyncio.create_task(turns.take(Lane.INTERACTIVE))
    staying = asyncio.create_task(turns.take(Lane.INTERACTIVE))
    await asyncio.sleep(0)
    turns.give(held)  # the turn is given, but its task has not run yet when it is cancelled
    leaving.cancel()
    async with asyncio.timeout(5):
        assert await staying is held
