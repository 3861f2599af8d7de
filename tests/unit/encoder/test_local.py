import asyncio
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from crossmodal.encoder import BatchLimits, Lane, LocalEncoder
from crossmodal.errors import ModelUnavailable
from crossmodal.records import Embeddings, Pixels
from tests.fakes import DIM, SIZE, ColourModel


async def test_results_match_the_model_and_stand_in_order() -> None:
    model = ColourModel()
    encoder = LocalEncoder(model, BatchLimits(images=2, texts=2))
    texts = ["red", "blue and green", "red " * 20]
    answer = await encoder.embed_texts(texts)
    expected = ColourModel().embed_texts(texts)
    np.testing.assert_array_equal(answer.embeddings, expected.embeddings)
    assert answer.embeddings.dtype == np.float32
    assert answer.tokens.tolist() == [1, 3, 12]
    assert answer.truncated.tolist() == [False, False, True]
    pixels = np.stack([np.full((SIZE, SIZE, 3), value, dtype=np.uint8) for value in (10, 200, 90)])
    np.testing.assert_array_equal(await encoder.embed_pixels(pixels), ColourModel().embed_pixels(pixels))
    assert model.batches == [2, 1, 2, 1]
    await encoder.close()


async def test_nothing_in_gives_empty_arrays_of_the_right_shape() -> None:
    model = ColourModel()
    encoder = LocalEncoder(model, BatchLimits())
    texts = await encoder.embed_texts([])
    assert (texts.embeddings.shape, texts.tokens.shape, texts.truncated.shape) == ((0, DIM), (0,), (0,))
    pixels = await encoder.embed_pixels(np.empty((0, SIZE, SIZE, 3), dtype=np.uint8))
    assert pixels.shape == (0, DIM)
    assert pixels.dtype == np.float32
    assert model.batches == []
    await encoder.close()


async def test_bulk_batches_are_half_as_long() -> None:
    model = ColourModel()
    encoder = LocalEncoder(model, BatchLimits(texts=8))
    await encoder.embed_texts([f"text {number}" for number in range(8)], Lane.BULK)
    assert model.batches == [4, 4]
    await encoder.close()


async def test_a_query_overtakes_pictures_being_indexed() -> None:
    model = ColourModel()
    model.release.clear()
    encoder = LocalEncoder(model, BatchLimits(images=4, texts=4))
    pixels = np.zeros((8, SIZE, SIZE, 3), dtype=np.uint8)
    bulk = asyncio.create_task(encoder.embed_pixels(pixels, Lane.BULK))
    await asyncio.to_thread(model.started.wait, 5)
    query = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.sleep(0)
    model.release.set()
    await asyncio.gather(bulk, query)
    assert model.batches == [2, 1, 2, 2, 2]
    await encoder.close()


async def test_a_closed_encoder_is_unavailable() -> None:
    encoder = LocalEncoder(ColourModel(), BatchLimits())
    await encoder.close()
    with pytest.raises(ModelUnavailable):
        await encoder.embed_texts(["late"])


async def test_a_model_that_hangs_is_not_there() -> None:
    model = ColourModel()
    encoder = LocalEncoder(model, BatchLimits(stall=0.05))
    await encoder.ping()
    model.release.clear()
    stuck = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.to_thread(model.started.wait, 5)
    await asyncio.sleep(0.1)
    with pytest.raises(ModelUnavailable, match="has not finished a batch"):
        await encoder.ping()
    model.release.set()
    await stuck
    await encoder.ping()
    await encoder.close()


async def test_the_model_says_what_suits_its_device() -> None:
    model = ColourModel()
    model.info = replace(model.info, batch_images=3, batch_texts=5)
    encoder = LocalEncoder(model, BatchLimits())
    await encoder.embed_texts(["red"] * 7)
    await encoder.embed_texts(["red"] * 3, Lane.BULK)
    await encoder.embed_pixels(np.zeros((4, SIZE, SIZE, 3), dtype=np.uint8))
    assert model.batches == [5, 2, 2, 1, 3, 1]
    await encoder.close()


async def test_as_many_calls_are_made_at_a_time_as_the_model_takes() -> None:
    model = ColourModel()
    model.info = replace(model.info, calls=2)
    model.release.clear()
    encoder = LocalEncoder(model, BatchLimits())
    first = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.to_thread(model.started.wait, 5)
    model.started.clear()
    second = asyncio.create_task(encoder.embed_texts(["blue"]))
    assert await asyncio.to_thread(model.started.wait, 5)
    assert model.batches == [1, 1]
    model.release.set()
    await asyncio.gather(first, second)
    await encoder.close()


async def test_texts_of_about_as_many_tokens_go_together() -> None:
    model = ColourModel()
    encoder = LocalEncoder(model, BatchLimits(texts=5))
    long, short = "word " * 8, "word"  # twelve tokens fill the model's context
    await encoder.embed_texts([short, long, short, long * 100, short, "words", "longer", long])
    assert model.batches == [5, 3]
    assert [len(text) > len("longer") for text in model.texts_seen[-3:]] == [True] * 3
    await encoder.close()


class LostModel(ColourModel):
    """A model whose device is gone."""

    def embed_pixels(self, pixels: Pixels) -> Embeddings:
        raise ModelUnavailable(f"no device for {len(pixels)} pictures")


async def test_a_model_whose_device_is_lost_is_not_there() -> None:
    encoder = LocalEncoder(LostModel(), BatchLimits())
    await encoder.ping()
    assert not encoder.lost
    with pytest.raises(ModelUnavailable, match="no device for 1 pictures"):
        await encoder.embed_pixels(np.zeros((2, SIZE, SIZE, 3), dtype=np.uint8))
    assert encoder.lost
    with pytest.raises(ModelUnavailable, match="device that runs the model failed"):
        await encoder.ping()
    await encoder.close()


async def test_a_fault_of_an_item_is_no_loss() -> None:
    model = ColourModel()
    model.broken = True
    encoder = LocalEncoder(model, BatchLimits())
    with pytest.raises(RuntimeError):
        await encoder.embed_texts(["red"])
    assert not encoder.lost
    await encoder.ping()
    await encoder.close()


async def test_items_that_wait_count_as_in_flight_for_as_long_as_they_wait() -> None:
    def shown() -> float:
        return REGISTRY.get_sample_value("crossmodal_item_seconds_total") or 0.0

    model = ColourModel()
    model.release.clear()
    encoder = LocalEncoder(model, BatchLimits(texts=4))
    before = shown()
    first = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.to_thread(model.started.wait, 5)
    waiting = asyncio.create_task(encoder.embed_texts([f"text {number}" for number in range(40)]))
    await asyncio.sleep(0.1)
    model.release.set()
    await asyncio.gather(first, waiting)
    assert 41 * 0.09 < shown() - before < 41 * 5
    await encoder.close()
