"""Measures searches of several parts, of any modality and for nothing that is there, through the service's use cases.

Everything is of combinations that training never held, indexed and asked as a client would, with all defaults. The
baselines do with the same embeddings what is commonly done: one part alone, vectors added and subtracted, raw cosines.

- fused: a picture of a scene and "on a ... background" ask for the same scene on that background. The collection holds
  every background and every number of each scene, so there are 43 near misses for each.
- unwanted: "three dogs", or a picture of them on red, without "a red background": of the ten best, how many show what is
  wanted on another background, and how many show what is unwanted.
- liked: a picture of something is liked, one of as many of something else on the same background disliked; of the ten best,
  how many show what was liked.
- any modality: a caption, and a picture, among pictures and captions of its scene and of scenes that differ in one fact;
  what is true of it counts, of whatever modality (nDCG of the ten best).
- no match: captions of scenes that the collection has, against captions of scenes it has not and sentences about other
  worlds; AUROC of the best hit's relevance.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from crossmodal.records import Modality, Partition
from crossmodal.search.calibrating import auroc
from crossmodal.search.finding import ANY, Window
from crossmodal.search.indexing import Submission
from crossmodal.search.querying import Asked, AskedItem, AskedPicture, AskedText
from crossmodal.search.relevance import WEAK_BELOW
from crossmodal.wiring import Container
from tools.tiny_clip.captions import Caption, agreement, describe, scene_facts
from tools.tiny_clip.grammar import NUMBER_WORDS
from tools.tiny_clip.objects import things
from tools.tiny_clip.render import GALLERY_SIZE, render
from tools.tiny_clip.scores import distinct_scenes
from tools.tiny_clip.world import BACKGROUNDS, COUNTS, Scene, draw_neighbour

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

NONSENSE = (
    "quarterly revenue report", "how to fix a leaking tap", "asdf qwer zxcv", "the meaning of life", "2 + 2 = 4",
    "a programming tutorial", "the stock market crash of 2008", "a romantic dinner in Paris", "a tax return form",
    "lorem ipsum dolor sit amet", "invoice number 12345", "a conference on machine learning", "wedding guests dancing",
    "an old man reading a newspaper", "mountains at sunset", "a crowded underground station", "an x-ray of a chest",
    "a black and white portrait of a woman", "a city from the air", "a screenshot of a website", "blurry", "war and peace",
    "politics", "a bowl of noodles with an egg", "skiers in the Alps", "a golden retriever playing in snow", "a floor plan",
    "the president gives a speech", "a goal in the last minute", "the second law of thermodynamics",
)  # fmt: skip
"""Sentences about nothing that the bundled model's world holds."""

_OBJECTS = 24
_TEN = 10


Numbers = dict[str, float]
"""Each measure by its name, 0 to 1, in the order of a table; indented ones are for comparison."""


def photograph(scene: Scene, rng: random.Random) -> bytes:
    """A scene as a user would send it: 320 pixels a side, in a lossy WebP file."""
    file = BytesIO()
    render(scene, random.Random(rng.getrandbits(64)), side=GALLERY_SIZE).save(file, "WEBP", quality=80, method=0)
    return file.getvalue()


async def index_scenes(container: Container, tenant: str, scenes: Sequence[Scene], rng: random.Random) -> None:
    """Index a picture of each scene under its place."""
    pictures = [Submission(photograph(scene, rng), id=f"{place}") for place, scene in enumerate(scenes)]
    for start in range(0, len(pictures), 100):
        await container.indexing.index_images(tenant, pictures[start : start + 100])


async def measure_fusion(container: Container, seed: int) -> Numbers:
    """Fused queries and unwanted parts."""
    rng, tenant = random.Random(seed), f"fusion-{seed}"
    items = rng.sample(range(len(things())), _OBJECTS)
    scenes = [Scene("group", item, colour, count) for item in items for colour in BACKGROUNDS for count in COUNTS]
    await index_scenes(container, tenant, scenes, rng)
    vectors = await _stored(container, tenant, Modality.IMAGE, len(scenes))
    changed = await _changed_background(container, tenant, scenes, vectors, rng)
    without = await _without_background(container, tenant, scenes, vectors, rng)
    return changed | without | await _recommended(container, tenant, scenes, rng)


async def _changed_background(
    container: Container, tenant: str, scenes: Sequence[Scene], vectors: Floats, rng: random.Random
) -> Numbers:
    wanted = rng.sample([scene for scene in scenes if scene.background != "red"], 120)
    own = [photograph(replace(scene, background="red"), rng) for scene in wanted]
    said = [f"on a {scene.background} background" for scene in wanted]
    targets = [scenes.index(scene) for scene in wanted]
    asked: list[list[Asked]] = [
        [AskedPicture(picture), AskedText(text)] for picture, text in zip(own, said, strict=True)
    ]
    fused = [await _places(container, tenant, parts, 5) for parts in asked]
    image, text = await _embedded(container, own, said)
    return {
        "fused R@5": _found(fused, targets),
        "  fused R@1": _found([places[:1] for places in fused], targets),
        "  picture alone R@5": _found(_best(image @ vectors.T, 5), targets),
        "  text alone R@5": _found(_best(text @ vectors.T, 5), targets),
        "  vectors added R@5": _found(_best((image + text) @ vectors.T, 5), targets),
        "  vectors added R@1": _found(_best((image + text) @ vectors.T, 1), targets),
    }


async def _without_background(
    container: Container, tenant: str, scenes: Sequence[Scene], vectors: Floats, rng: random.Random
) -> Numbers:
    asked = [scene for scene in scenes if scene.background == "red"]
    colours = rng.choices([name for name in BACKGROUNDS if name != "red"], k=len(asked))
    names, pictures = [_name(scene) for scene in asked], [photograph(scene, rng) for scene in asked]
    nots = [f"a {colour} background" for colour in colours]
    image, text = await _embedded(container, pictures, names)
    away = (await container.comparing.embed_texts([*nots, "a red background"])).embeddings
    values: Numbers = {}
    wanted: Sequence[Asked]
    for name, wanted, vector, unlike, unwanted in (
        ("text", [AskedText(each) for each in names], text, away[:-1], colours),
        ("picture", [AskedPicture(each) for each in pictures], image, away[-1:], ["red"] * len(asked)),
    ):
        nots_of = [AskedText(f"a {colour} background", -1.0) for colour in unwanted]
        parts: list[tuple[Asked, Asked]] = list(zip(wanted, nots_of, strict=True))
        for rule, found in (
            (f"{name} without", [await _places(container, tenant, each, _TEN) for each in parts]),
            (f"  {name} alone", _best(vector @ vectors.T, _TEN)),
            (f"  {name} with vectors subtracted", _best((vector - unlike) @ vectors.T, _TEN)),
        ):
            good, bad = _shown(found, asked, scenes, unwanted)
            values |= {f"{rule}, P@10": good, f"{rule}, unwanted@10": bad}
    return values


async def _recommended(container: Container, tenant: str, scenes: Sequence[Scene], rng: random.Random) -> Numbers:
    alike: list[float] = []
    alone: list[float] = []
    for _ in range(100):
        liked = rng.choice(scenes)
        others = [each for each in scenes if each.item != liked.item and _frame(each) == _frame(liked)]
        asked = AskedItem(Modality.IMAGE, f"{scenes.index(liked)}")
        disliked = AskedItem(Modality.IMAGE, f"{scenes.index(rng.choice(others))}", -1.0)
        for found, parts in ((alike, [asked, disliked]), (alone, [asked])):
            places = await _places(container, tenant, parts, _TEN)
            found.append(float(np.mean([scenes[place].item == liked.item for place in places])))
    return {"liked, not disliked, P@10": float(np.mean(alike)), "  liked alone, P@10": float(np.mean(alone))}


def _frame(scene: Scene) -> tuple[str, int]:
    return scene.background, scene.count


async def _places(container: Container, tenant: str, parts: Sequence[Asked], count: int) -> list[int]:
    answer = await container.querying.by_parts(tenant, parts, [Modality.IMAGE], Window(n_results=count))
    return [int(hit.item.id) for hit in answer.hits]


async def _embedded(container: Container, pictures: Sequence[bytes], texts: Sequence[str]) -> tuple[Floats, Floats]:
    image = await container.comparing.embed_pictures(pictures)
    return image, (await container.comparing.embed_texts(texts)).embeddings


async def measure_any(container: Container, seed: int) -> Numbers:
    """One list of pictures and texts."""
    rng, tenant = random.Random(seed), f"any-{seed}"
    asked = distinct_scenes(120, rng, split="unseen")
    near = [draw_neighbour(scene, rng, split=rng.choice(("seen", "unseen"))) for scene in asked for _ in range(6)]
    scenes = list(dict.fromkeys([*asked, *near]))
    captions = [describe(scene, rng, full=True) for scene in (*scenes, *scenes)]
    await index_scenes(container, tenant, scenes, rng)
    await _index_captions(container, tenant, captions)
    stored = np.vstack(
        [
            await _stored(container, tenant, Modality.IMAGE, len(scenes)),
            await _stored(container, tenant, Modality.TEXT, len(captions)),
        ]
    )
    queries, pictures = [describe(scene, rng, full=True) for scene in asked], [photograph(each, rng) for each in asked]
    image, text = await _embedded(container, pictures, [query.text for query in queries])
    # A caption that leaves nothing out may still be true of another scene, and each caption of what it is true of.
    true_of_asked = agreement(_said(captions), _facts(asked)).T
    same = (_facts(scenes)[None] == _facts(asked)[:, None]).all(-1)
    values: Numbers = {}
    parts: Sequence[Asked]
    for name, parts, vector, shown in (
        ("text", [AskedText(query.text) for query in queries], text, agreement(_said(queries), _facts(scenes))),
        ("picture", [AskedPicture(picture) for picture in pictures], image, same),
    ):
        relevant = np.hstack([shown, true_of_asked])
        found = [await _columns(container, tenant, part, len(scenes)) for part in parts]
        values[f"any modality by {name}, nDCG@10"] = _ndcg(found, relevant)
        values[f"  raw cosine by {name}, nDCG@10"] = _ndcg(_best(vector @ stored.T, _TEN), relevant)
    ours, raw = (sum(values[name] for name in values if each in name) / 2 for each in ("any modality", "raw cosine"))
    return {"any modality over raw cosine": ours - raw} | values


async def _index_captions(container: Container, tenant: str, captions: Sequence[Caption]) -> None:
    texts = [Submission(caption.text.encode(), id=f"{place}") for place, caption in enumerate(captions)]
    for start in range(0, len(texts), 1000):
        await container.indexing.index_texts(tenant, texts[start : start + 1000])


async def _columns(container: Container, tenant: str, part: Asked, images: int) -> list[int]:
    answer = await container.querying.by_parts(tenant, [part], ANY, Window(n_results=_TEN))
    return [int(hit.item.id) + (images if hit.item.modality is Modality.TEXT else 0) for hit in answer.hits]


async def measure_no_match(container: Container, seed: int) -> Numbers:
    """Whether the best hit's relevance tells queries that are answered from those that are not."""
    rng, tenant = random.Random(seed), f"no-match-{seed}"
    scenes = distinct_scenes(700, rng, split="unseen")
    held, absent = scenes[:400], scenes[400:]
    await index_scenes(container, tenant, held, rng)
    matched = [describe(scene, rng, full=True).text for scene in held[:200]]
    strangers = [_elsewhere(scene, held, rng) for scene in absent[:200]]
    best = {
        name: await _best_relevance(container, tenant, [text for text in texts if text])
        for name, texts in (("matched", matched), ("strangers", strangers), ("nonsense", NONSENSE))
    }
    unmatched = np.concatenate([best["strangers"], best["nonsense"]])
    return {
        "no match AUROC": auroc(best["matched"], unmatched),
        "  scenes not there AUROC": auroc(best["matched"], best["strangers"]),
        "  nonsense AUROC": auroc(best["matched"], best["nonsense"]),
        "  matched said to be weak": float((best["matched"] < WEAK_BELOW).mean()),
        "  unmatched said to be weak": float((unmatched < WEAK_BELOW).mean()),
    }


def _elsewhere(scene: Scene, held: Sequence[Scene], rng: random.Random) -> str:
    """A caption of ``scene``, or nothing if it is true of a scene that is held."""
    caption: Caption = describe(scene, rng, full=True)
    true = agreement(_said([caption]), _facts(held)).any()
    return "" if true else caption.text


async def _best_relevance(container: Container, tenant: str, texts: Iterable[str]) -> npt.NDArray[np.float64]:
    answers = [await container.querying.by_text(tenant, text, Modality.IMAGE, Window(n_results=1)) for text in texts]
    return np.array([answer.hits[0].relevance for answer in answers])


async def _stored(container: Container, tenant: str, modality: Modality, count: int) -> Floats:
    points = await container.store.fetch(
        Partition(tenant, modality), list(map(str, range(count))), with_embeddings=True
    )
    return np.stack([point.embedding for point in points if point is not None])


def _facts(scenes: Sequence[Scene]) -> npt.NDArray[np.int16]:
    return np.array([scene_facts(scene) for scene in scenes], dtype=np.int16)


def _said(captions: Sequence[Caption]) -> npt.NDArray[np.int16]:
    return np.array([caption.facts for caption in captions], dtype=np.int16)


def _best(scores: Floats, count: int) -> list[list[int]]:
    ordered: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :count].tolist()
    return ordered


def _found(answers: Sequence[Sequence[int]], targets: Sequence[int]) -> float:
    return float(np.mean([target in answer for answer, target in zip(answers, targets, strict=True)]))


def _shown(
    answers: Sequence[Sequence[int]], asked: Sequence[Scene], scenes: Sequence[Scene], unwanted: Sequence[str]
) -> tuple[float, float]:
    good, bad = [], []
    for answer, scene, colour in zip(answers, asked, unwanted, strict=True):
        shown = [scenes[place] for place in answer]
        bad.append(np.mean([each.background == colour for each in shown]))
        same = [(each.item, each.count) == (scene.item, scene.count) for each in shown]
        good.append(np.mean([like and each.background != colour for like, each in zip(same, shown, strict=True)]))
    return float(np.mean(good)), float(np.mean(bad))


def _ndcg(answers: Sequence[Sequence[int]], relevant: Bools) -> float:
    discounts = 1 / np.log2(np.arange(2, _TEN + 2))
    gains = [relevant[row, list(answer)] @ discounts[: len(answer)] for row, answer in enumerate(answers)]
    ideals = [discounts[: min(_TEN, int(row.sum()))].sum() for row in relevant]
    return float(np.mean(np.array(gains) / np.array(ideals)))


def _name(scene: Scene) -> str:
    singular, plural = things()[scene.item].names[0]
    return singular if scene.count == 1 else f"{NUMBER_WORDS[scene.count]} {plural}"
