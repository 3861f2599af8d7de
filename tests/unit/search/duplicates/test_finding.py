"""The rule, by items whose content, look and embedding are made for it."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from crossmodal import metering
from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.errors import Overloaded
from crossmodal.imaging import make_signature
from crossmodal.metering import Bucket, Rate
from crossmodal.records import DEFAULT_TENANT, Embedding, Modality, Partition, Point
from crossmodal.search.duplicates import Duplicates, Evidence, Found, Linkage, Method, Wanted
from crossmodal.search.relevance import Calibrations
from crossmodal.store.base import CollectionSpec, Page
from crossmodal.store.exact import ExactStore
from crossmodal.store.filters import Equals, Filter
from tests.builders import item
from tests.fakes import DIM, ColourModel
from tests.pictures import photograph, quadrants

IMAGES = Partition(DEFAULT_TENANT, Modality.IMAGE)
SPEC = CollectionSpec(DIM, "colour-model-1")
LOOKS = {"one": make_signature(quadrants()), "other": make_signature(photograph(60, 60, seed=4))}


def towards(cosine: float, axis: int = 1) -> Embedding:
    """A unit vector of this cosine to the first axis."""
    vector = np.zeros(DIM, np.float32)
    vector[0], vector[axis] = cosine, np.sqrt(1 - cosine**2)
    return vector


def point(item_id: str, embedding: Embedding, *, look: str = "", content: str = "", **metadata: str) -> Point:
    made = item(item_id, metadata=metadata)
    digest = item(content or item_id).content_hash
    return Point(replace(made, content_hash=digest, signature=LOOKS.get(look, b"")), embedding)


async def find(points: list[Point], wanted: Wanted, *, max_items: int = 1000, tenant: str = DEFAULT_TENANT) -> Found:
    store = ExactStore()
    await store.open(SPEC)
    await store.upsert(IMAGES, points)
    encoder = LocalEncoder(ColourModel(), BatchLimits(images=4, texts=8, queued=64))
    try:
        return await Duplicates(Calibrations(encoder, store), store, max_items=max_items).find(tenant, wanted)
    finally:
        await encoder.close()


def told(found: Found) -> list[tuple[list[str], list[Evidence]]]:
    return [(group.ids, group.kinds) for group in found.groups]


EXACT, PERCEPTUAL, EMBEDDING = [Evidence.EXACT], [Evidence.PERCEPTUAL], [Evidence.EMBEDDING]


async def test_equal_content_is_the_same_by_every_method_but_not_unlike_content() -> None:
    points = [
        point("b", towards(1), content="same", look="one"),
        point("a", towards(1), content="same", look="one"),
        point("c", towards(0), look="other"),
    ]
    for method in Method:
        found = await find(points, Wanted(method=method))
        assert told(found) == [(["a", "b"], EXACT)], method
        assert (found.groups[0].max_score, found.groups[0].min_score) == (1.0, 1.0)
        assert (found.examined, found.truncated) == (3, False)


async def test_looks_decide_where_they_are_known_and_cosines_where_not() -> None:
    points = [
        point("copy 1", towards(1), look="one"),
        point("copy 2", towards(0.5), look="one"),
        point("anew", towards(0.99), look="other"),
        point("unknown", towards(0.99, axis=2)),
    ]
    both = [(["anew", "unknown"], EMBEDDING), (["copy 1", "copy 2"], PERCEPTUAL)]
    assert told(await find(points, Wanted())) == both
    chains = await find(points, Wanted(linkage=Linkage.CONNECTED))
    assert told(chains) == [(["anew", "copy 1", "copy 2", "unknown"], [Evidence.PERCEPTUAL, Evidence.EMBEDDING])]
    assert told(await find(points[:3], Wanted())) == [(["copy 1", "copy 2"], PERCEPTUAL)]
    assert told(await find(points, Wanted(method=Method.PERCEPTUAL))) == [(["copy 1", "copy 2"], PERCEPTUAL)]
    assert told(await find(points, Wanted(method=Method.EXACT))) == []


async def test_scores_are_cosines_and_a_threshold_is_the_least_of_them() -> None:
    points = [
        point("a", towards(1), look="one"),
        point("b", towards(0.8), look="one"),
        point("c", towards(0.7, axis=2)),
    ]
    [copies] = (await find(points, Wanted())).groups
    assert copies.ids == ["a", "b"]
    assert copies.max_score == copies.min_score == pytest.approx(0.8, abs=1e-3)
    assert told(await find(points, Wanted(threshold=0.9))) == []
    assert told(await find(points, Wanted(threshold=0.79))) == [(["a", "b"], EMBEDDING)]
    [chain] = (await find(points, Wanted(threshold=0.65, linkage=Linkage.CONNECTED))).groups
    assert chain.ids == ["a", "b", "c"]
    assert chain.max_score == pytest.approx(0.8, abs=1e-3)
    assert chain.min_score == pytest.approx(0.56, abs=1e-3)


async def test_the_score_of_the_perceptual_method_is_the_correlation_of_looks() -> None:
    points = [point("a", towards(1), look="one"), point("b", towards(0), look="one")]
    [group] = (await find(points, Wanted(method=Method.PERCEPTUAL, threshold=0.99))).groups
    assert group.min_score == pytest.approx(1.0, abs=1e-4)


async def test_groups_come_best_first_then_by_id_and_what_is_beyond_the_limit_is_said() -> None:
    slanted = ((towards(0.5, axis=3) + 0.1 * towards(0, axis=4)) / np.sqrt(1.01)).astype(np.float32)
    points = [
        *(point(f"z{number}", towards(1), content="z") for number in range(2)),
        *(point(f"a{number}", towards(0), content="a") for number in range(3)),
        point("near 1", towards(0.5, axis=3)),
        point("near 2", slanted),
    ]
    found = await find(points, Wanted(method=Method.EMBEDDING))
    assert [group.ids for group in found.groups] == [["a0", "a1", "a2"], ["z0", "z1"], ["near 1", "near 2"]]
    cut = await find(points, Wanted(method=Method.EMBEDDING, limit=2))
    assert [group.ids for group in cut.groups] == [["a0", "a1", "a2"], ["z0", "z1"]]
    assert (found.truncated, cut.truncated) == (False, True)


async def test_a_filter_narrows_and_another_tenant_holds_nothing() -> None:
    points = [point(str(number), towards(1), content="same", kind="xy"[number % 2]) for number in range(4)]
    assert told(await find(points, Wanted(where=Equals("kind", "y")))) == [(["1", "3"], EXACT)]
    elsewhere = await find(points, Wanted(), tenant="another")
    assert (elsewhere.groups, elsewhere.examined, elsewhere.truncated) == ([], 0, False)


@pytest.mark.parametrize(("items", "examined", "truncated"), [(300, 300, True), (301, 301, False)])
async def test_more_items_than_are_examined_is_said(items: int, examined: int, truncated: bool) -> None:  # noqa: FBT001
    points = [point(f"{number:03}", towards(1), content="same") for number in range(301)]
    found = await find(points, Wanted(), max_items=items)
    assert (found.examined, found.truncated) == (examined, truncated)
    assert len(found.groups[0].ids) == examined


async def test_work_is_charged_by_the_items_examined() -> None:
    bucket = Bucket(Rate(1.0, 100.0), lambda: 0.0)
    metering.use(bucket)
    try:
        await find([point(f"{number}", towards(1)) for number in range(201)], Wanted())
    finally:
        metering.use(None)
    assert bucket.balance == 100 - 3


class SlowStore(ExactStore):
    """Answers a page of ``scroll`` when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()

    async def scroll(
        self,
        partition: Partition,
        *,
        limit: int,
        cursor: str | None = None,
        where: Filter | None = None,
        with_embeddings: bool = False,
    ) -> Page:
        await self.release.wait()
        return await super().scroll(partition, limit=limit, cursor=cursor, where=where, with_embeddings=with_embeddings)


async def test_one_at_a_time_few_wait_and_who_leaves_makes_room() -> None:
    store = SlowStore()
    await store.open(SPEC)
    encoder = LocalEncoder(ColourModel(), BatchLimits(images=4, texts=8, queued=64))
    use_case = Duplicates(Calibrations(encoder, store), store, max_items=10)
    tasks = [asyncio.create_task(use_case.find(DEFAULT_TENANT, Wanted())) for _ in range(9)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="8 searches for duplicates wait already") as refused:
        await use_case.find(DEFAULT_TENANT, Wanted())
    assert refused.value.shed == "duplicates"
    tasks[0].cancel()  # the one that runs
    tasks[5].cancel()
    await asyncio.gather(tasks[0], tasks[5], return_exceptions=True)
    tasks.append(asyncio.create_task(use_case.find(DEFAULT_TENANT, Wanted())))
    store.release.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(answer, Found) for answer in answers) == 8
    assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 2
    await encoder.close()
