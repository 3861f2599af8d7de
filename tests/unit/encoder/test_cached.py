import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from prometheus_client import REGISTRY

from crossmodal import telemetry
from crossmodal.clip.base import ModelInfo, TextEmbeddings
from crossmodal.encoder import BatchLimits, CachedEncoder, Lane, LocalEncoder
from crossmodal.encoder.cache import ENTRY_BYTES, EmbeddingCache, Entry
from crossmodal.errors import ModelUnavailable, Overloaded
from crossmodal.records import Embeddings, Pixels
from tests.fakes import CONTEXT, DIM, SIZE, ColourModel, info

ENTRY = DIM * 4 + ENTRY_BYTES


class Switchable:
    """An encoder whose model can be exchanged, go away, or be told to fail for some texts."""

    def __init__(self) -> None:
        self.fingerprint = "one"
        self.gone = False
        self.bad: set[str] = set()
        self.calls: list[list[str]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def info(self) -> ModelInfo:
        return info(self.fingerprint)

    async def ping(self) -> None:
        if self.gone:
            raise ModelUnavailable("gone")

    async def embed_pixels(self, pixels: Pixels, lane: Lane = Lane.INTERACTIVE) -> Embeddings:  # noqa: ARG002  the port's
        return np.tile(self._vector(), (len(pixels), 1))

    async def embed_texts(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> TextEmbeddings:  # noqa: ARG002  the port's
        self.calls.append(list(texts))
        vector = self._vector()
        await self.go_on.wait()
        if self.bad.intersection(texts):
            raise Overloaded("too much")
        count = len(texts)
        return TextEmbeddings(np.tile(vector, (count, 1)), np.full(count, 3, np.int32), np.zeros(count, np.bool_))

    async def close(self) -> None:
        """Nothing runs."""

    def _vector(self) -> Embeddings:
        vector = np.zeros(DIM, dtype=np.float32)
        vector[len(self.fingerprint)] = 1.0
        return vector


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture
async def encoder(model: ColourModel) -> AsyncIterator[CachedEncoder]:
    cached = CachedEncoder(LocalEncoder(model, BatchLimits()), max_bytes=10 * ENTRY)
    yield cached
    await cached.close()


@pytest.fixture
def other() -> Switchable:
    return Switchable()


def pixels(*values: int) -> Pixels:
    return np.stack([np.full((SIZE, SIZE, 3), value, dtype=np.uint8) for value in values])


def looked_up(kind: str, lane: str, outcome: str) -> float:
    labels = {"kind": kind, "lane": lane, "outcome": outcome}
    return REGISTRY.get_sample_value("crossmodal_cache_lookups_total", labels) or 0.0


async def test_a_text_met_before_is_answered_without_the_model(encoder: CachedEncoder, model: ColourModel) -> None:
    hits, misses = (looked_up("text", "interactive", each) for each in ("hit", "miss"))
    texts = ["red", "blue " * 20]
    first, second = await encoder.embed_texts(texts), await encoder.embed_texts(texts)
    expected = ColourModel().embed_texts(texts)
    for answer in (first, second):
        for one, right in zip(answer, expected, strict=True):
            np.testing.assert_array_equal(one, right)
            assert one.dtype == right.dtype
    assert second.tokens.tolist() == [1, CONTEXT]
    assert second.truncated.tolist() == [False, True]
    assert model.batches == [2]
    assert looked_up("text", "interactive", "hit") == hits + 2
    assert looked_up("text", "interactive", "miss") == misses + 2
    assert REGISTRY.get_sample_value("crossmodal_cache_bytes") == 2 * ENTRY


async def test_pixels_met_before_are_answered_without_the_model(encoder: CachedEncoder, model: ColourModel) -> None:
    first = await encoder.embed_pixels(pixels(10, 20))
    second = await encoder.embed_pixels(pixels(20, 30, 10)[::-1])
    expected = ColourModel().embed_pixels(pixels(10, 30, 20))
    np.testing.assert_array_equal(second, expected)
    np.testing.assert_array_equal(first[0], expected[0])
    assert model.batches == [2, 1]


async def test_only_what_is_missing_travels_and_each_once(encoder: CachedEncoder, model: ColourModel) -> None:
    await encoder.embed_texts(["red"])
    answer = await encoder.embed_texts(["blue", "red", "blue", "green", "blue"])
    assert model.texts_seen == ["red", "blue", "green"]
    expected = ColourModel().embed_texts(["blue", "red", "blue", "green", "blue"])
    np.testing.assert_array_equal(answer.embeddings, expected.embeddings)


async def test_nothing_in_gives_empty_arrays(encoder: CachedEncoder, model: ColourModel) -> None:
    for lane in Lane:
        texts = await encoder.embed_texts([], lane)
        assert (texts.embeddings.shape, texts.tokens.shape, texts.truncated.shape) == ((0, DIM), (0,), (0,))
        assert (await encoder.embed_pixels(np.empty((0, SIZE, SIZE, 3), np.uint8), lane)).shape == (0, DIM)
    assert model.batches == []


async def test_what_a_caller_does_to_its_answer_stays_with_it(encoder: CachedEncoder) -> None:
    for _ in range(3):
        answer = await encoder.embed_texts(["red"])
        np.testing.assert_array_equal(answer.embeddings, ColourModel().embed_texts(["red"]).embeddings)
        assert (answer.tokens.tolist(), answer.truncated.tolist()) == ([1], [False])
        answer.embeddings[:] = 0
        answer.tokens[:] = 99
        answer.truncated[:] = True


async def test_bulk_work_reads_and_never_fills(encoder: CachedEncoder, model: ColourModel) -> None:
    await encoder.embed_texts([f"text {number}" for number in range(100)], Lane.BULK)
    await encoder.embed_texts(["red"])
    model.texts_seen.clear()
    hits = looked_up("text", "bulk", "hit")
    answer = await encoder.embed_texts(["red", "blue"], Lane.BULK)
    np.testing.assert_array_equal(answer.embeddings, ColourModel().embed_texts(["red", "blue"]).embeddings)
    await encoder.embed_texts(["blue"], Lane.BULK)
    assert model.texts_seen == ["blue", "blue"]
    assert looked_up("text", "bulk", "hit") == hits + 1


async def test_what_was_not_asked_for_longest_goes_first(encoder: CachedEncoder, model: ColourModel) -> None:
    await encoder.embed_texts([f"text {number}" for number in range(10)])
    await encoder.embed_texts(["text 0"])
    await encoder.embed_texts(["one more"])
    model.texts_seen.clear()
    await encoder.embed_texts(["text 0", "text 2", "one more"])
    assert model.texts_seen == []
    await encoder.embed_texts(["text 1"])
    assert model.texts_seen == ["text 1"]
    assert REGISTRY.get_sample_value("crossmodal_cache_bytes") == 10 * ENTRY


async def test_a_request_larger_than_the_memory_is_answered(encoder: CachedEncoder) -> None:
    texts = [f"text {number}" for number in range(50)]
    answer = await encoder.embed_texts(texts)
    np.testing.assert_array_equal(answer.embeddings, ColourModel().embed_texts(texts).embeddings)


def test_the_bound_counts_what_is_kept_and_no_batch_is_kept_for_a_row() -> None:
    cache = EmbeddingCache(3 * ENTRY)
    cache.turn_to("one")
    batch = np.ones((100, DIM), dtype=np.float32)
    cache.put("one", {bytes([number]): Entry(row) for number, row in enumerate(batch)})
    assert (len(cache), cache.bytes) == (3, 3 * ENTRY)
    cache.put("one", {b"\x63": Entry(batch[0], 5)})
    assert (len(cache), cache.bytes) == (3, 3 * ENTRY)
    entry = cache.get(b"\x63")
    assert entry is not None
    assert entry.tokens == 5
    assert entry.embedding.base is None
    with pytest.raises(ValueError, match="read-only"):
        entry.embedding[0] = 2
    cache.put("two", {b"x": Entry(batch[0])})
    assert cache.get(b"x") is None
    cache.turn_to("two")
    assert (len(cache), cache.bytes) == (0, 0)


async def test_a_text_and_pixels_of_the_same_bytes_are_two(encoder: CachedEncoder, model: ColourModel) -> None:
    grey = pixels(65)
    await encoder.embed_pixels(grey)
    await encoder.embed_texts([grey.tobytes().decode()])
    assert model.batches == [1, 1]


async def test_another_model_is_asked_anew(other: Switchable) -> None:
    encoder = CachedEncoder(other, max_bytes=10 * ENTRY)
    first = await encoder.embed_texts(["red"])
    other.fingerprint = "another"
    second = await encoder.embed_texts(["red"])
    assert other.calls == [["red"], ["red"]]
    assert not np.array_equal(first.embeddings, second.embeddings)
    other.fingerprint = "one"
    np.testing.assert_array_equal((await encoder.embed_texts(["red"])).embeddings, first.embeddings)
    assert len(other.calls) == 3


async def test_what_a_model_made_that_was_exchanged_meanwhile_is_not_kept(other: Switchable) -> None:
    encoder = CachedEncoder(other, max_bytes=10 * ENTRY)
    other.go_on.clear()
    request = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert other.calls == [["red"]]
    other.fingerprint = "another"
    other.go_on.set()
    await request
    await encoder.embed_texts(["red"])
    assert other.calls == [["red"], ["red"]]


async def test_nothing_is_answered_while_the_model_is_gone(other: Switchable) -> None:
    encoder = CachedEncoder(other, max_bytes=10 * ENTRY)
    await encoder.embed_texts(["red"])
    other.gone = True
    with pytest.raises(ModelUnavailable):
        await encoder.embed_texts(["red"])
    other.gone = False
    await encoder.embed_texts(["red"])
    assert other.calls == [["red"]]


async def started(other: Switchable, calls: int) -> None:
    async with asyncio.timeout(5):
        while len(other.calls) < calls:  # noqa: ASYNC110  the fake sets no event
            await asyncio.sleep(0)


async def test_those_who_miss_the_same_share_one_computation(other: Switchable) -> None:
    encoder = CachedEncoder(other, max_bytes=10 * ENTRY)
    other.go_on.clear()
    requests = [asyncio.create_task(encoder.embed_texts(["red", f"own {number}"])) for number in range(5)]
    await started(other, 5)
    other.go_on.set()
    answers = await asyncio.gather(*requests)
    assert other.calls == [["red", "own 0"], ["own 1"], ["own 2"], ["own 3"], ["own 4"]]
    for answer in answers:
        assert answer.embeddings.shape == (2, DIM)
        answer.embeddings[:] = 0  # nobody else's
    assert (await encoder.embed_texts(["red"])).embeddings.any()


async def test_a_caller_that_leaves_takes_nothing_from_the_others(other: Switchable) -> None:
    encoder = CachedEncoder(other, max_bytes=10 * ENTRY)
    other.go_on.clear()
    first = asyncio.create_task(encoder.embed_texts(["red"]))
    await started(other, 1)
    second, third = (asyncio.create_task(encoder.embed_texts(["red"])) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    other.go_on.set()
    assert len((await third).embeddings) == 1
    assert other.calls == [["red"]]


async def test_work_that_nobody_waits_for_is_given_up_and_can_be_asked_for_again(other: Switchable) -> None:
    encoder = CachedEncoder(other, max_bytes=10 * ENTRY)
    other.go_on.clear()
    before = len(asyncio.all_tasks())
    callers = [asyncio.create_task(encoder.embed_texts(["red"])) for _ in range(2)]
    await started(other, 1)
    await asyncio.sleep(0.01)
    for caller in callers:
        caller.cancel()
    late = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.gather(*callers, return_exceptions=True)
    await started(other, 2)
    assert len(asyncio.all_tasks()) == before + 2, "the late caller and its computation"
    other.go_on.set()
    assert len((await late).embeddings) == 1
    assert other.calls == [["red"], ["red"]]


async def test_a_fault_of_anothers_request_is_not_everybodys(other: Switchable) -> None:
    encoder = CachedEncoder(other, max_bytes=10 * ENTRY)
    other.go_on.clear()
    other.bad = {"bad"}
    first = asyncio.create_task(encoder.embed_texts(["red", "bad"]))
    await started(other, 1)
    second = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.sleep(0.01)
    other.go_on.set()
    with pytest.raises(Overloaded):
        await first
    assert len((await second).embeddings) == 1
    assert other.calls == [["red", "bad"], ["red"]]
    with pytest.raises(Overloaded):
        await encoder.embed_texts(["bad"])


async def test_the_stages_of_a_request_are_its_own(model: ColourModel, encoder: CachedEncoder) -> None:
    async def request(text: str) -> dict[str, float]:
        token = telemetry.start_stages()
        await encoder.embed_texts([text])
        collected = dict(telemetry.current_stages())
        telemetry.end_stages(token)
        return collected

    model.release.clear()
    leader = asyncio.create_task(request("red"))
    await asyncio.to_thread(model.started.wait, 5)
    follower = asyncio.create_task(request("red"))
    await asyncio.sleep(0.05)
    model.release.set()
    assert set(await leader) == {"queue", "embed"}
    waited = await follower
    assert set(waited) == {"embed"}
    assert waited["embed"] > 0.01
    assert await request("red") == {}, "no stage of the model where it was not asked"
    assert model.batches == [1]
