from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.errors import ConfigurationError
from crossmodal.records import Embedding, Item, Metadata, Modality, Partition, Point
from crossmodal.search.calibrating import LEAST_ITEMS, Calibrating, auroc, by_field, fit_logistic
from crossmodal.store.base import CollectionSpec
from crossmodal.store.exact import ExactStore
from tests.builders import item, unit

DIM = 64
IMAGES, TEXTS = Partition("default", Modality.IMAGE), Partition("default", Modality.TEXT)
RNG = np.random.default_rng(4)


def near(centre: Embedding, noise: float) -> Embedding:
    return unit(*(centre + noise * RNG.standard_normal(DIM)))


async def store_of(topics: int, each: int = 1) -> ExactStore:
    """Pictures and texts of topics: items of one topic are alike, those of others have nothing to do with it."""
    store = ExactStore()
    await store.open(CollectionSpec(DIM, "f"))
    centres = [unit(*RNG.standard_normal(DIM)) for _ in range(topics)]
    for partition, name in ((IMAGES, "i"), (TEXTS, "t")):
        await store.upsert(
            partition,
            [
                Point(item(f"{name}{topic}-{copy}", partition.modality, {"topic": topic}), near(centre, 0.05))
                for topic, centre in enumerate(centres)
                for copy in range(each)
            ],
        )
    return store


async def test_unrelated_items_alone_tell_mean_and_spread() -> None:
    measured = await Calibrating(await store_of(200)).measure("default", sample=500)
    assert set(measured) == {"text-image", "image-text", "image-image", "text-text"}
    for each in measured.values():
        # Random directions in 64 dimensions: mean 0, standard deviation 1 / sqrt(64).
        assert each.statistics.mean == pytest.approx(0, abs=0.02)
        assert each.statistics.std == pytest.approx(1 / 8, rel=0.15)
        assert (each.matches, each.auroc, each.fitted) == (0, None, False)
        assert each.statistics.midpoint == pytest.approx(each.statistics.mean + 4 * each.statistics.std)
        assert each.statistics.slope == pytest.approx(5 / each.statistics.std)
    assert measured["image-text"] == measured["text-image"]


async def test_known_matches_are_fitted_to() -> None:
    measured = await Calibrating(await store_of(100, each=2)).measure("default", sample=500, matching=by_field("topic"))
    for each in measured.values():
        assert each.fitted
        assert each.matches >= 100
        assert each.auroc == pytest.approx(1, abs=0.01)
        assert each.statistics.mean == pytest.approx(0, abs=0.02)
        assert 0.3 < each.statistics.midpoint < 0.8
    assert measured["text-image"].unrelated > 1000


async def test_what_only_metadata_call_a_match_is_not_fitted_to() -> None:
    store = await store_of(200)

    def by_length(item: Item) -> list[str]:
        return [str(len(item.id))]

    measured = await Calibrating(store).measure("default", sample=500, matching=by_length)
    for each in measured.values():
        assert each.matches > 1000
        assert each.auroc == pytest.approx(0.5, abs=0.05)
        assert not each.fitted
        assert each.statistics.midpoint == pytest.approx(each.statistics.mean + 4 * each.statistics.std)


async def test_what_was_kept_can_be_forgotten() -> None:
    store = await store_of(40)
    calibrating = Calibrating(store)
    await calibrating.keep(await calibrating.measure("default", sample=500))
    await calibrating.forget()
    assert store.statistics == {}


async def test_few_items_are_said_to_be_too_few() -> None:
    store = await store_of(LEAST_ITEMS - 1)
    with pytest.raises(
        ConfigurationError, match=f"29 of modality image, 29 of modality text; {LEAST_ITEMS} are needed"
    ):
        await Calibrating(store).measure("default", sample=500)
    with pytest.raises(ConfigurationError, match="too few"):
        await Calibrating(await store_of(200)).measure("somebody else", sample=500)


async def test_one_modality_alone_is_measured() -> None:
    store = await store_of(40)
    await store.delete(TEXTS, [f"t{topic}-0" for topic in range(40)])
    assert set(await Calibrating(store).measure("default", sample=500)) == {"image-image"}


async def test_when_all_match_nothing_is_left_to_compare_with() -> None:
    store = await store_of(1, each=40)
    with pytest.raises(ConfigurationError, match="nearly all items match"):
        await Calibrating(store).measure("default", sample=500, matching=by_field("topic"))


async def test_what_was_measured_is_kept_with_the_collections() -> None:
    store = await store_of(40)
    measured = await Calibrating(store).measure("default", sample=500)
    await Calibrating(store).keep(measured)
    assert store.statistics == {pair: each.statistics for pair, each in measured.items()}


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"a": "x"}, ["str:x"]),
        ({"a": ["x", 2]}, ["str:x", "int:2"]),
        ({"a": None}, []),
        ({}, []),
        ({"a": 2}, ["int:2"]),
    ],
)
def test_fields_name_what_an_item_belongs_to(metadata: Metadata, names: Sequence[str]) -> None:
    assert list(by_field("a")(item("x", metadata=metadata))) == names


def test_the_fit_finds_the_curve_that_the_samples_were_drawn_from() -> None:
    # Two normal distributions of one width: the log odds are linear, slope (m1 - m0) / s^2, midpoint in the middle.
    rng = np.random.default_rng(1)
    matches, others = rng.normal(0.30, 0.05, 20_000), rng.normal(0.10, 0.05, 50_000)
    midpoint, slope = fit_logistic(matches, others)
    assert midpoint == pytest.approx(0.20, abs=0.003)
    assert slope == pytest.approx(0.2 / 0.05**2, rel=0.05)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_auroc_is_the_share_of_pairs_in_the_right_order(matches: list[int], others: list[int]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in matches for b in others]
    found = auroc(np.asarray(matches, dtype=np.float64), np.asarray(others, dtype=np.float64))
    assert found == pytest.approx(sum(pairs) / len(pairs))


async def test_the_same_collection_measures_the_same() -> None:
    store = await store_of(60)
    first, second = [await Calibrating(store).measure("default", sample=500) for _ in range(2)]
    assert first == second
