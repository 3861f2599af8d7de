"""A model in another process: what its callers get when it is there, gone, hanging and back."""

import asyncio
import gc
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossmodal import deadline
from crossmodal.encoder import Lane, RemoteEncoder
from crossmodal.encoder.remote import pack_info, pack_texts, unpack_info
from crossmodal.errors import CrossModalError, DeadlineExceeded, ModelUnavailable, Overloaded
from tests.fakes import CURVE, DIM, SIZE, ColourModel


class Process:
    """The other side: a real model behind calls that can fail, hang and come back."""

    def __init__(self) -> None:
        self.model = ColourModel()
        self.fault: Exception | None = None
        self.hangs = asyncio.Event()  # set: calls are taken and not answered
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def __call__(self, method: str, /, **arguments: Any) -> Any:
        self.calls.append((method, arguments))
        if self.fault is not None:
            raise self.fault
        if self.hangs.is_set():
            await asyncio.Event().wait()
        match method:
            case "describe":
                return pack_info(self.model.info)
            case "embed_texts":
                return pack_texts(self.model.embed_texts(arguments["texts"]))
            case "embed_pixels":
                return self.model.embed_pixels(arguments["pixels"])
        raise AssertionError(method)


@pytest.fixture
def process() -> Process:
    return Process()


def encoder_of(process: Process, **options: Any) -> RemoteEncoder:
    return RemoteEncoder(process, every=0.01, timeout=0.2, **options)


async def gone(encoder: RemoteEncoder) -> None:
    """Return when the encoder has noticed that nobody answers."""
    async with asyncio.timeout(5):
        while True:
            try:
                await encoder.ping()
            except ModelUnavailable:
                return
            await asyncio.sleep(0.01)


async def back(encoder: RemoteEncoder) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                await encoder.ping()
            except ModelUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


def test_a_model_process_of_another_version_is_understood() -> None:
    info = replace(ColourModel().info, runtime="openvino")
    members = json.loads(json.dumps(pack_info(info)))
    assert unpack_info(members) == info
    assert unpack_info(members).runtime == "openvino"
    assert unpack_info(members | {"of a newer version": 1}) == info
    del members["runtime"]
    assert unpack_info(members) == info


async def test_answers_are_those_of_the_model(process: Process) -> None:
    encoder = encoder_of(process)
    expected = ColourModel().embed_texts(["red", "blue " * 20])
    answer = await encoder.embed_texts(["red", "blue " * 20], Lane.BULK)
    np.testing.assert_array_equal(answer.embeddings, expected.embeddings)
    assert answer.tokens.tolist() == [1, 12]
    assert answer.truncated.tolist() == [False, True]
    assert process.calls[-1][1]["lane"] == "bulk"
    assert process.calls[-1][1]["fingerprint"] == "colour-model-1"
    pixels = np.full((2, SIZE, SIZE, 3), 200, dtype=np.uint8)
    np.testing.assert_array_equal(await encoder.embed_pixels(pixels), ColourModel().embed_pixels(pixels))
    info = await encoder.info()
    assert (info.dim, info.preprocessing.size, info.calibration["text-image"]) == (DIM, SIZE, CURVE)
    await encoder.close()


async def test_nothing_in_asks_for_nothing(process: Process) -> None:
    encoder = encoder_of(process, with_lane=False)
    assert (await encoder.embed_texts([])).embeddings.shape == (0, DIM)
    assert (await encoder.embed_pixels(np.empty((0, SIZE, SIZE, 3), np.uint8))).shape == (0, DIM)
    assert {method for method, _ in process.calls} == {"describe"}
    await encoder.embed_texts(["red"])
    assert set(process.calls[-1][1]) == {"texts"}
    await encoder.close()


async def test_calls_under_way_are_given_up_when_the_other_side_hangs(process: Process) -> None:
    encoder = encoder_of(process)
    await encoder.info()
    process.hangs.set()
    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailable):
            await encoder.embed_texts(["red"])
    calls = len(process.calls)
    with pytest.raises(ModelUnavailable):
        await encoder.embed_texts(["red"])
    assert all(method == "describe" for method, _ in process.calls[calls:]), "known to be gone, it is not called"
    process.hangs.clear()
    await back(encoder)
    assert len((await encoder.embed_texts(["red"])).embeddings) == 1
    await encoder.close()


async def test_a_process_that_is_gone_is_noticed_and_met_again(process: Process) -> None:
    encoder = encoder_of(process)
    await encoder.info()
    process.fault = ModelUnavailable("connection refused")
    await gone(encoder)
    process.fault = None
    await back(encoder)
    await encoder.close()


async def test_before_the_first_answer_it_is_unavailable(process: Process) -> None:
    encoder = encoder_of(process)
    process.fault = ModelUnavailable("not there yet")
    for call in (encoder.info, encoder.ping, lambda: encoder.embed_texts(["red"])):
        with pytest.raises(ModelUnavailable):
            await call()
    process.fault = None
    await encoder.ping()
    await encoder.close()


async def test_an_overloaded_process_is_there(process: Process) -> None:
    encoder = encoder_of(process)
    await encoder.info()
    process.fault = Overloaded("too much")
    with pytest.raises(Overloaded):
        await encoder.embed_texts(["red"])
    process.fault = None
    await encoder.ping()
    await encoder.close()


@pytest.mark.parametrize(("fault", "there"), [(Overloaded("too much"), True), (DeadlineExceeded("too late"), False)])
async def test_a_sign_of_life_that_is_none_is_understood(
    process: Process,
    fault: CrossModalError,
    there: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    encoder = encoder_of(process)
    await encoder.info()
    process.fault = fault
    if there:
        await asyncio.sleep(0.1)
        await encoder.ping()
    else:
        await gone(encoder)
    process.fault = None
    asked = len(process.calls)
    await back(encoder)
    async with asyncio.timeout(5):
        while len(process.calls) < asked + 2:  # noqa: ASYNC110 -- it is asked for signs of life as before
            await asyncio.sleep(0.01)
    await encoder.close()


async def test_signs_of_life_are_asked_for_when_the_first_request_is_long_over() -> None:
    left: list[float | None] = []

    async def call(method: str, /, **_: Any) -> Any:
        assert method == "describe"
        left.append(deadline.remaining())
        return pack_info(ColourModel().info)

    encoder = RemoteEncoder(call, every=0.01)
    with deadline.within(30):
        await encoder.info()
    async with asyncio.timeout(5):
        while len(left) < 3:  # noqa: ASYNC110 -- the monitor has no event for it
            await asyncio.sleep(0.01)
    assert left[0] is not None
    assert left[1:3] == [None, None]
    await encoder.close()


async def test_closing_releases_what_calls_need(process: Process) -> None:
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    encoder = encoder_of(process, closing=close)
    await encoder.info()
    await encoder.close()
    assert closed == [True]


async def test_a_caller_that_leaves_leaves_no_call_behind(process: Process) -> None:
    encoder = RemoteEncoder(process, every=60, timeout=5)
    await encoder.info()
    process.hangs.set()
    caller = asyncio.create_task(encoder.embed_texts(["red"]))
    await asyncio.sleep(0.05)
    before = len(asyncio.all_tasks())
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before - 3  # the caller, the call and the wait for a loss
    await encoder.close()


async def test_another_model_is_none_until_the_first_one_is_back(process: Process) -> None:
    encoder = encoder_of(process)
    first = process.model
    await encoder.info()
    process.model = ColourModel("colour-model-2")
    await gone(encoder)
    for call in (encoder.ping, lambda: encoder.embed_texts(["red"])):
        with pytest.raises(ModelUnavailable, match="another model"):
            await call()
    assert (await encoder.info()).fingerprint == "colour-model-1"
    process.fault = ModelUnavailable("connection refused")
    async with asyncio.timeout(5):
        while True:
            with pytest.raises(ModelUnavailable) as refused:
                await encoder.ping()
            if "does not answer" in refused.value.detail:
                break
            await asyncio.sleep(0.01)
    process.fault = None
    process.model = first
    await back(encoder)
    assert len((await encoder.embed_texts(["red"])).embeddings) == 1
    await encoder.close()


async def test_calls_that_come_while_several_are_under_way_go_together(process: Process) -> None:
    async def distant(method: str, /, **arguments: Any) -> Any:
        await asyncio.sleep(0.005)
        return await process(method, **arguments)

    encoder = RemoteEncoder(distant, every=60)
    await encoder.info()
    texts = [f"text {number}" for number in range(20)]
    pixels = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
    async with asyncio.TaskGroup() as group:
        interactive = [group.create_task(encoder.embed_texts([text])) for text in texts]
        for text in texts[:6]:
            group.create_task(encoder.embed_texts([text], Lane.BULK))
        pictures = [group.create_task(encoder.embed_pixels(pixels[place][None])) for place in range(6)]
    alone = process.model.embed_texts(texts)
    for place, answer in enumerate(interactive):
        np.testing.assert_array_equal(answer.result().embeddings, alone.embeddings[[place]])
        assert answer.result().tokens.tolist() == [alone.tokens[place]]
    for place, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture.result(), process.model.embed_pixels(pixels[[place]]))
    made = [(method, arguments) for method, arguments in process.calls if method != "describe"]
    assert len(made) == 3 * 5  # four at once, then what waited
    of_texts = [each for method, each in made if method == "embed_texts" and each["lane"] == "interactive"]
    assert sorted(text for each in of_texts for text in each["texts"]) == sorted(texts)  # no lane has what is another's
    await encoder.close()


@pytest.mark.parametrize("rows", [0, 1, 3])
async def test_another_number_of_rows_than_of_items_is_noticed(process: Process, rows: int) -> None:
    async def careless(method: str, /, **arguments: Any) -> Any:
        answer = await process(method, **arguments)
        return answer if method == "describe" else np.resize(answer, (rows, DIM))

    encoder = RemoteEncoder(careless, every=60)
    with pytest.raises(ModelUnavailable, match=f"answered 2 items with {rows} rows"):
        await encoder.embed_pixels(np.zeros((2, SIZE, SIZE, 3), np.uint8))
    await encoder.close()


async def test_what_a_call_that_was_given_up_says_is_nobodys(process: Process) -> None:
    async def stubborn(method: str, /, **arguments: Any) -> Any:
        if method == "describe":
            return await process(method, **arguments)
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DeadlineExceeded("too late") from None

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    encoder = RemoteEncoder(stubborn, every=60)
    await encoder.info()
    request = asyncio.create_task(encoder.embed_texts(["a"]))
    await asyncio.sleep(0.01)
    request.cancel()
    await asyncio.wait([request])
    await asyncio.sleep(0.01)
    del request
    gc.collect()
    assert complaints == []
    await encoder.close()
