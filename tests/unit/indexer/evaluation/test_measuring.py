"""The three ways to measure, through the real reader, batcher and stores, with a model that understands colours."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.errors import ConfigurationError
from crossmodal.records import Modality, Partition
from crossmodal.search.indexing import Submission
from crossmodal.settings import Settings
from crossmodal.store.base import CollectionSpec
from crossmodal.wiring import Container, build_container
from indexer.evaluation.embedding import CHUNK, Embedded, embed_pictures, embed_texts
from indexer.evaluation.in_memory import IMAGE_TO_TEXT, TEXT_TO_IMAGE, rank_pairs
from indexer.evaluation.measuring import measure_pairs, measure_queries, measure_through_store
from indexer.evaluation.pairs import Pairs
from indexer.evaluation.queries import LabelledQuery
from indexer.evaluation.results import BINS, Measured, Scores, quantiles
from tests.fakes import COLOURS, ColourModel, HastyStore, SlowModel, info
from tests.pictures import encoded, solid

SHADES = {"red": (250, 5, 5), "green": (5, 160, 5), "blue": (5, 5, 250), "yellow": (250, 250, 5)}


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture
async def container(tmp_path: Path, model: ColourModel) -> AsyncIterator[Container]:
    settings = Settings(store=f"edge:{tmp_path / 'store'}", data=tmp_path, min_free_bytes=0)
    container = build_container(settings, LocalEncoder(model, BatchLimits()))
    await container.open()
    yield container
    await container.close()


def gallery(folder: Path) -> Pairs:
    """Four pictures of a colour with two captions each; a picture that is none, a file that is not there, a copy."""
    for name, rgb in SHADES.items():
        (folder / f"{name}.png").write_bytes(encoded(solid(rgb), "PNG"))
    (folder / "copy.png").write_bytes(encoded(solid(SHADES["red"]), "PNG"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    names = ["red.png", "broken.jpg", "green.png", "nowhere.png", "blue.png", "yellow.png", "copy.png"]
    captions = ["red", "a red thing", "broken", "green", "a green thing", "nowhere", "blue", "a blue thing", "red green",
                "yellow words", "red"]  # fmt: skip
    return Pairs([folder / name for name in names], captions, [0, 0, 1, 2, 2, 3, 4, 4, 5, 5, 6])


def estimates(measured: Measured, direction: str) -> dict[str, float]:
    found = measured.directions[direction].estimates(measured.metrics, resamples=100, seed=0)
    return {name: each.mean for name, each in found.items()}


def embedded(vectors: np.ndarray, places: list[int] | None = None) -> Embedded:
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Embedded(unit, list(range(len(unit))) if places is None else places, {}, [])


def slow_recall(cosines: np.ndarray, relevant: list[set[int]], k: int) -> float:
    """Mean over rows of whether anything relevant is among the best k, equal cosines against it."""
    hits = 0
    for row, wanted in zip(cosines.tolist(), relevant, strict=True):
        order = sorted(range(len(row)), key=lambda place: (-row[place], place in wanted))
        hits += bool(wanted & set(order[:k]))
    return hits / len(relevant)


@pytest.mark.parametrize("cells", [1, 70, 10**6])
def test_rankings_of_pairs_agree_with_a_slow_count(cells: int) -> None:
    random = np.random.default_rng(5)
    owners = [0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 6, 6, 6, 7, 8, 9]
    pictures = random.standard_normal((10, 4))
    captions = pictures[owners] + 0.9 * random.standard_normal((16, 4))
    # Captions 3 and 4 are one text of two pictures; pictures 8 and 9 are one file.
    texts = embedded(captions[[0, 1, 2, 3, *range(5, 16)]], [0, 1, 2, 3, 3, *range(4, 15)])
    images = embedded(pictures[:9], [*range(9), 8])
    directions, scores = rank_pairs(images, texts, owners, cells=cells)
    cosines = texts.vectors[texts.places].astype(np.float64) @ images.vectors[images.places].astype(np.float64).T
    of_picture = [{place for place, owner in enumerate(owners) if owner == picture} for picture in range(10)]
    for k in (1, 2, 3, 5, 10):
        for name, expected in {
            TEXT_TO_IMAGE: slow_recall(cosines, [{owner} for owner in owners], k),
            IMAGE_TO_TEXT: slow_recall(cosines.T, of_picture, k),
        }.items():
            found = [bool(each.ranks[0] <= k) for each in directions[name].judged]
            assert np.mean(found) == pytest.approx(expected), (name, k)
    assert (directions[TEXT_TO_IMAGE].searched, directions[IMAGE_TO_TEXT].searched) == (10, 16)
    assert (scores.matches.sum(), scores.others.sum()) == (16, 144)


def test_any_caption_finds_a_picture_and_a_caption_only_its_own() -> None:
    # Of picture 0 the second caption is right, the first is nearer to picture 1.
    directions, _ = rank_pairs(
        embedded(np.array([[1.0, 0.0], [0.0, 1.0]])),
        embedded(np.array([[0.2, 1.0], [1.0, 0.1], [0.1, 1.0]])),
        [0, 0, 1],
    )
    assert [each.ranks.tolist() for each in directions[IMAGE_TO_TEXT].judged] == [[1, 2], [1]]
    assert [each.ranks.tolist() for each in directions[TEXT_TO_IMAGE].judged] == [[2], [1], [1]]


def test_copies_count_against() -> None:
    directions, _ = rank_pairs(embedded(np.eye(3), [0, 0, 1]), embedded(np.eye(3), [0, 1, 2]), [0, 1, 2])
    assert [each.ranks.tolist() for each in directions[TEXT_TO_IMAGE].judged] == [[2], [3], [3]]


def test_scores_are_counted_by_their_bin() -> None:
    scores = Scores()
    cosines = np.array([[-1.0, 1.0, 0.5], [0.0, 0.5, 0.5]], np.float32)
    scores.add(cosines, np.array([[False, True, False], [False, True, True]]))
    assert (scores.matches.sum(), scores.others.sum()) == (3, 3)
    assert (scores.others[0], scores.matches[BINS - 1], scores.matches[300], scores.others[300]) == (1, 1, 2, 1)
    assert quantiles(scores.matches, [0.5]) == pytest.approx([0.5], abs=0.005)
    assert quantiles(np.zeros(BINS, np.int64), [0.5]) == []


async def test_equal_contents_are_embedded_once(tmp_path: Path, container: Container, model: ColourModel) -> None:
    pairs = gallery(tmp_path)
    texts = await embed_texts(container, [*pairs.captions, "red " * 20])
    assert sorted(model.texts_seen) == sorted({*pairs.captions, "red " * 20})
    assert (texts.places[0], texts.truncated) == (texts.places[10], 1)
    np.testing.assert_array_equal(texts.vectors[texts.places[3]], model.embed_texts(["green"]).embeddings[0])
    model.batches.clear()
    pictures = await embed_pictures(container, pairs.pictures)
    assert sum(model.batches) == 4
    assert pictures.places[0] == pictures.places[6] >= 0
    assert [place for place, row in enumerate(pictures.places) if row < 0] == [1, 3] == sorted(pictures.faults)
    assert pictures.faults[3].detail == "the file cannot be read: No such file or directory"
    assert len(set(pictures.hashes)) == len(pictures.hashes) == len(pictures.vectors) == 4
    assert pictures.readable().places == [row for row in pictures.places if row >= 0]


async def test_more_files_than_a_chunk_keep_their_places(tmp_path: Path, container: Container) -> None:
    files = [tmp_path / f"{number}.png" for number in range(150)]
    for number, file in enumerate(files):
        if number % 50:
            file.write_bytes(encoded(solid((number, 0, 150 - number)), "PNG"))
    pictures = await embed_pictures(container, files)
    assert sorted(pictures.faults) == [0, 50, 100]
    reds = [float(pictures.vectors[row][0]) for row in pictures.places if row >= 0]
    assert reds == sorted(reds)


async def test_a_slow_model_is_waited_for(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(4 * CHUNK)]
    for number, file in enumerate(files):
        file.write_bytes(encoded(solid((number % 256, number // 256, 7)), "PNG"))
    encoder = LocalEncoder(SlowModel(), BatchLimits(wait=0.001))
    container = build_container(Settings(store="memory:", data=tmp_path), encoder)
    await container.open()
    pictures = await embed_pictures(container, files)
    await container.close()
    assert (len(pictures.vectors), pictures.faults) == (4 * CHUNK, {})


async def test_pairs_in_memory(tmp_path: Path, container: Container) -> None:
    measured = await measure_pairs(container, gallery(tmp_path))
    assert measured.counts == {
        "pictures": 7,
        "pictures_measured": 5,
        "captions": 11,
        "captions_measured": 9,
        "shared_captions": 2,
        "repeated_pictures": 1,
        "truncated_captions": 0,
    }
    assert [(Path(name).name, reason.split(":")[0]) for name, reason in measured.unreadable] == [
        ("broken.jpg", "The picture begins like JPEG but cannot be decoded."),
        ("nowhere.png", "the file cannot be read"),
    ]
    by_text = measured.directions[TEXT_TO_IMAGE]
    # Of the red picture there is a copy, so its three captions find it second; "yellow words" says nothing of colours.
    assert [each.ranks.tolist() for each in by_text.judged][:7] == [[2], [2], [1], [1], [1], [1], [1]]
    assert by_text.clusters == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert estimates(measured, IMAGE_TO_TEXT)["recall@10"] == 1.0
    assert list(measured.metrics) == ["recall@1", "recall@5", "recall@10", "mrr", "ndcg@10"]


async def test_a_store_of_their_own_gives_pairs_the_same_numbers(tmp_path: Path, container: Container) -> None:
    pairs = gallery(tmp_path)
    in_memory = await measure_pairs(container, pairs)
    stored = await measure_through_store(container, pairs, tenant="acme", depth=10)
    assert stored.unreadable == in_memory.unreadable
    for name in (TEXT_TO_IMAGE, IMAGE_TO_TEXT):
        direction = stored.directions[name]
        assert (direction.depth, direction.searched) == (10, in_memory.directions[name].searched)
        assert direction.clusters == in_memory.directions[name].clusters
        for stored_one, one in zip(direction.judged, in_memory.directions[name].judged, strict=True):
            assert stored_one.ranks.tolist() == one.ranks.tolist()
        assert estimates(stored, name) == pytest.approx(estimates(in_memory, name))
    assert await container.store.count(Partition("acme", Modality.IMAGE)) == 5
    assert await container.store.count(Partition("acme", Modality.TEXT)) == 9


async def test_no_readable_picture_is_no_evaluation(tmp_path: Path, container: Container) -> None:
    pairs = Pairs([tmp_path / "nowhere.png"], ["red"], [0])
    for measuring in (measure_pairs(container, pairs), measure_through_store(container, pairs, tenant="a", depth=10)):
        with pytest.raises(ConfigurationError, match=r"none of the 1 pictures can be read; the first is nowhere.png"):
            await measuring
    query = LabelledQuery(tmp_path / "nowhere.png", Modality.TEXT, {"t": 1.0})
    with pytest.raises(ConfigurationError, match="none of the queries' pictures can be read"):
        await measure_queries(container, [query], tenant="default", depth=10)


async def fill(container: Container) -> None:
    pictures = [Submission(encoded(solid(rgb), "PNG"), name) for name, rgb in COLOURS.items()]
    texts = [Submission(f"{name} thing".encode(), f"t-{name}") for name in COLOURS]
    await container.indexing.index_images("acme", pictures)
    await container.indexing.index_texts("acme", texts)


async def test_labelled_queries_in_the_collection(tmp_path: Path, container: Container) -> None:
    await fill(container)
    red = tmp_path / "red.png"
    red.write_bytes(encoded(solid(COLOURS["red"]), "PNG"))
    measured = await measure_queries(
        container,
        [
            LabelledQuery("red", Modality.IMAGE, {"red": 1.0}),
            LabelledQuery("blue", Modality.IMAGE, {"red": 1.0, "blue": 3.0, "gone": 1.0}),
            LabelledQuery(red, Modality.TEXT, {"t-red": 1.0}),
            LabelledQuery(red, Modality.IMAGE, {"red": 1.0, "white": 1.0}),
            LabelledQuery(tmp_path / "nowhere.png", Modality.TEXT, {"t-red": 1.0, "t-gone": 1.0}),
        ],
        tenant="acme",
        depth=10,
    )
    assert list(measured.directions) == ["text-to-image", "image-to-text", "image-to-image"]
    assert measured.counts == {"queries": 5, "queries_measured": 4}
    assert (measured.unreadable[0][0], list(measured.unknown)) == (
        str(tmp_path / "nowhere.png"),
        ["image gone", "text t-gone"],
    )
    by_text = estimates(measured, "text-to-image")
    # One of one and one of three are first; nobody finds what is not indexed.
    assert by_text["recall@1"] == pytest.approx((1 + 1 / 3) / 2)
    assert by_text["recall@10"] == pytest.approx((1 + 2 / 3) / 2)
    assert (by_text["success@1"], by_text["mrr"], by_text["overlap@1"], by_text["overlap@10"]) == (1, 1, 1, 1)
    assert 0.5 < by_text["ndcg@10"] < 1.0
    assert estimates(measured, "image-to-text")["recall@1"] == 1.0
    # A picture is never its own answer, so one of the two that should be found cannot be.
    assert estimates(measured, "image-to-image")["recall@10"] == 0.5
    assert measured.directions["image-to-image"].searched == len(COLOURS)
    assert (
        estimates(
            await measure_queries(
                container, [LabelledQuery("red", Modality.IMAGE, {"red": 1.0})], tenant="globex", depth=10
            ),
            "text-to-image",
        )["success@10"]
        == 0.0
    )


async def test_what_an_index_misses_is_measured(container: Container) -> None:
    store = HastyStore()
    await store.open(CollectionSpec(info().dim, info().fingerprint))
    await fill(container)
    images = Partition("acme", Modality.IMAGE)
    held = await container.store.fetch(images, list(COLOURS), with_embeddings=True)
    await store.upsert(images, [point for point in held if point is not None])
    store.missed = {"red"}
    queries = [LabelledQuery(name, Modality.IMAGE, {name: 1.0}) for name in ("red", "blue")]
    hasty = replace(container, store=store)
    found = estimates(await measure_queries(hasty, queries, tenant="acme", depth=10), "text-to-image")
    assert (found["success@10"], found["overlap@1"]) == (0.5, 0.5)
    assert found["overlap@5"] == pytest.approx((len(COLOURS) - 1) / len(COLOURS))


def test_a_curve_ends_where_nothing_more_is_known() -> None:
    directions, _ = rank_pairs(embedded(np.eye(3)), embedded(np.eye(3)), [0, 1, 2])
    whole = directions[TEXT_TO_IMAGE]
    assert whole.curve(lambda _, k: float(k)) == [1.0, 2.0, 3.0]
    assert replace(whole, searched=10**6, depth=20).curve(lambda _, k: float(k)) == [float(k) for k in range(1, 21)]
    assert len(replace(whole, searched=10**6).curve(lambda _, k: float(k))) == 50
