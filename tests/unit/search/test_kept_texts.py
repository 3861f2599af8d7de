import asyncio

import numpy as np
import pytest

from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.search.kept_texts import KeptTexts
from tests.fakes import DIM, ColourModel

TEXTS = [f"text {number}" for number in range(70)]


def encoder_of(model: ColourModel) -> LocalEncoder:
    return LocalEncoder(model, BatchLimits(texts=8, queued=64))


async def test_they_are_embedded_once_in_bulk_and_kept() -> None:
    model = ColourModel()
    encoder = encoder_of(model)
    kept = KeptTexts(encoder, TEXTS)
    first, second = await asyncio.gather(kept.embeddings(), kept.embeddings())
    assert first is second
    assert first.shape == (70, DIM)
    assert sorted(model.texts_seen) == sorted(TEXTS)
    assert max(model.batches) == 4  # half of an interactive batch
    assert (await encoder.embed_texts([TEXTS[69]])).embeddings[0].tolist() == first[69].tolist()
    with pytest.raises(ValueError, match="read-only"):
        first[0] = np.zeros(DIM)
    await encoder.close()


async def test_they_are_made_to_the_end_when_nobody_waits_any_more() -> None:
    model = ColourModel()
    model.release.clear()
    encoder = encoder_of(model)
    kept = KeptTexts(encoder, TEXTS)
    waiting = asyncio.create_task(kept.embeddings())
    await asyncio.to_thread(model.started.wait, 10)
    waiting.cancel()
    await asyncio.wait([waiting])
    model.release.set()
    assert (await kept.embeddings()).shape == (70, DIM)
    assert len(model.texts_seen) == 70
    await encoder.close()


async def test_after_a_failure_the_next_call_tries_again() -> None:
    model = ColourModel()
    model.broken = True
    encoder = encoder_of(model)
    kept = KeptTexts(encoder, TEXTS[:3])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the model is broken"):
            await kept.embeddings()
    model.broken = False
    assert (await kept.embeddings()).shape == (3, DIM)
    await encoder.close()


async def test_another_model_has_other_vectors() -> None:
    model = ColourModel()
    encoder = encoder_of(model)
    kept = KeptTexts(encoder, TEXTS[:3])
    first = await kept.embeddings()
    model.info = ColourModel("another").info
    assert await kept.embeddings() is not first
    assert len(model.texts_seen) == 6
    await encoder.close()
