"""Windows of hits, against every item weighed by hand."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.records import DEFAULT_TENANT, Hit, Modality, Partition, Point
from crossmodal.search import finding
from crossmodal.search.finding import ANY, Finder, Window
from crossmodal.search.fusion import Aim, Part
from crossmodal.search.relevance import Calibration, logistic
from crossmodal.store.base import CollectionSpec, Key, VectorStore
from crossmodal.store.edge import EdgeStore
from crossmodal.store.exact import ExactStore
from tests.builders import item

DIM = 6
IMAGES, TEXTS = (Partition(DEFAULT_TENANT, modality) for modality in (Modality.IMAGE, Modality.TEXT))
LIKED, OTHER, UNWANTED = np.eye(DIM, dtype=np.float32)[:3]
UNWANTED_PARTS = [Part(LIKED, Modality.TEXT), Part(UNWANTED, Modality.IMAGE, -1)]


Name = tuple[Modality, str]
Held = dict[Partition, list[Point]]


class Calibrations:
    """The rough calibration."""

    async def now(self) -> Calibration:
        return Calibration()


class Forgetting(ExactStore):
    """Deletes items when the first of them are about to be taken."""

    forgotten: Sequence[str] = ()

    async def take(
        self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool = False
    ) -> list[Point | None]:
        await self.delete(partition, self.forgotten)
        return await super().take(partition, keys, with_embeddings=with_embeddings)


async def filled(store: VectorStore, seed: int, count: int = 60) -> Held:
    """``count`` items of each modality in ``store``, every third the twin of the one before."""
    await store.open(CollectionSpec(DIM, "f"))
    random = np.random.default_rng(seed)
    held: Held = {}
    for partition in (IMAGES, TEXTS):
        rows = random.normal(size=(count, DIM)).astype(np.float32) + LIKED
        rows[2::3] = rows[1::3][: len(rows[2::3])]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        ids = random.permutation(count)
        held[partition] = [
            Point(item(f"{number:03}", partition.modality), row) for number, row in zip(ids, rows, strict=True)
        ]
        await store.upsert(partition, held[partition])
    return held


def by_hand(held: Held, parts: list[Part], least: float) -> dict[Name, float]:
    """The logit of every item of those relevant enough, by modality and id."""
    weighed: dict[Name, float] = {}
    for partition, points in held.items():
        aim = Aim(parts, partition.modality, Calibration())
        for point in points:
            score = np.array([float(np.clip(aim.direction @ point.embedding, -1, 1))])
            unlike = np.array([[float(np.clip(each @ point.embedding, -1, 1)) for each in aim.unwanted]])
            logit = float((aim.wanted_logits(score) - aim.penalties(unlike))[0])
            if logistic(logit) >= least:
                weighed[point.item.modality, point.item.id] = logit
    return weighed


def assert_in_order(found: list[Name], held: Held, logits: dict[Name, float]) -> None:
    """Best first, and of twins the first by id."""
    embeddings = {(each.item.modality, each.item.id): each.embedding for points in held.values() for each in points}
    twins = 0
    for before, after in pairwise(found):
        assert logits[before] >= logits[after] - 1e-3
        if before[0] == after[0] and np.array_equal(embeddings[before], embeddings[after]):
            assert before[1] < after[1]
            twins += 1
    assert twins or len(found) < 60


def names(hits: Sequence[Hit]) -> list[Name]:
    return [(hit.item.modality, hit.item.id) for hit in hits]


def finder(store: VectorStore) -> Finder:
    return Finder(store, Calibrations())  # type: ignore[arg-type]


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 1000),
    unwanted=st.booleans(),
    targets=st.sampled_from([ANY, (Modality.IMAGE,), (Modality.TEXT,)]),
    least=st.sampled_from([0.0, 0.0, 0.3, 0.9]),
    size=st.integers(1, 70),
    explain=st.booleans(),
)
async def test_windows_are_slices_of_every_item_weighed_by_hand(
    *, seed: int, unwanted: bool, targets: tuple[Modality, ...], least: float, size: int, explain: bool
) -> None:
    with TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder) / "store")  # whose keys are in another order than ids
        held = await filled(store, seed)
        parts = [Part(LIKED, Modality.TEXT), Part(OTHER, Modality.IMAGE, 0.5)]
        parts += [Part(UNWANTED, Modality.IMAGE, -1)] if unwanted else []
        logits = by_hand({each: held[each] for each in held if each.modality in targets}, parts, least)
        found: list[Name] = []
        for offset in range(0, 120, size):
            window = Window(size, offset, min_relevance=least, explain=explain)
            hits = await finder(store).find(DEFAULT_TENANT, parts, targets, window)
            assert [len(hit.contributions) for hit in hits] == [len(parts) if explain else 0] * len(hits)
            found += names(hits)
        await store.close()
    assert len(found) == len(set(found))
    assert set(found) == set(logits)
    assert_in_order(found, held, logits)


@pytest.mark.parametrize("diversity", [0.0, 0.5])
@pytest.mark.parametrize("targets", [(Modality.IMAGE,), ANY])
async def test_what_is_deleted_meanwhile_leaves_no_hole(diversity: float, targets: tuple[Modality, ...]) -> None:
    store = Forgetting()
    await filled(store, seed=1)
    whole = names(await finder(store).find(DEFAULT_TENANT, UNWANTED_PARTS, targets, Window(120, diversity=diversity)))
    assert len(whole) == 60 * len(targets)
    store.forgotten = [whole[0][1], whole[3][1]]
    left = [name for name in whole if name[1] not in store.forgotten]
    found = names(await finder(store).find(DEFAULT_TENANT, UNWANTED_PARTS, targets, Window(5, diversity=diversity)))
    assert len(found) == 5
    assert found == left[:5] or diversity  # what is chosen for being unlike the others depends on them
    assert not set(found) - set(left)


async def test_nothing_is_found_where_there_is_nothing() -> None:
    store = ExactStore()
    await store.open(CollectionSpec(DIM, "f"))
    for window in (Window(), Window(diversity=0.5), Window(offset=7, explain=True), Window(min_relevance=0.5)):
        for targets in (ANY, (Modality.IMAGE,)):
            assert await finder(store).find(DEFAULT_TENANT, UNWANTED_PARTS, targets, window) == []


async def test_only_what_is_shown_is_read() -> None:
    """A search that weighs hundreds of items has few of them brought here."""
    taken: list[int] = []

    class Counting(ExactStore):
        async def take(
            self, partition: Partition, keys: Sequence[Key], *, with_embeddings: bool = False
        ) -> list[Point | None]:
            taken.append(len(keys))
            return await super().take(partition, keys, with_embeddings=with_embeddings)

    store = Counting()
    await filled(store, seed=2, count=400)
    hits = await finder(store).find(DEFAULT_TENANT, UNWANTED_PARTS, ANY, Window(10, explain=True))
    assert len(hits) == 10
    assert sum(taken) <= 12  # twins at the ends are read to put them in order


@pytest.mark.parametrize("pool", [7, 20, 500])
@pytest.mark.parametrize("diversity", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("targets", [(Modality.TEXT,), ANY])
async def test_pages_are_slices_of_one_order_whatever_is_asked_with_it(
    monkeypatch: pytest.MonkeyPatch, pool: int, diversity: float, targets: tuple[Modality, ...]
) -> None:
    monkeypatch.setattr(finding, "POOL", pool)
    store = ExactStore()
    await filled(store, seed=3)
    for parts in (UNWANTED_PARTS, UNWANTED_PARTS[:1], [*UNWANTED_PARTS, Part(OTHER, Modality.TEXT, -3)]):
        for least in (0.0, 0.01, 0.1):

            async def find(size: int, offset: int, parts: list[Part] = parts, least: float = least) -> list[Name]:
                window = Window(size, offset, min_relevance=least, diversity=diversity)
                return names(await finder(store).find(DEFAULT_TENANT, parts, targets, window))

            whole = await find(1000, 0)
            assert len(set(whole)) == len(whole)
            for size in (4, 33):
                pages = [await find(size, offset) for offset in range(0, len(whole) + size, size)]
                assert [name for page in pages for name in page] == whole, (size, least)
