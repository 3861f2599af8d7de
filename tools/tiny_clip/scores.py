"""Retrieval scores and the scene sets they are measured on."""

import random

import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.nn.functional import normalize

from tools.tiny_clip.batches import to_tensor
from tools.tiny_clip.captions import describe
from tools.tiny_clip.network import encode_text
from tools.tiny_clip.render import FastRenderer
from tools.tiny_clip.world import Scene, Split, draw_scene

_CHUNK = 250


def distinct_scenes(count: int, rng: random.Random, *, split: Split) -> list[Scene]:
    """`count` scenes of which no full caption of one is true of another.

    A group of one and the same object at a side share captions such as "a dog on a red background", so of those only
    one is kept.
    """
    scenes: dict[tuple[object, ...], Scene] = {}
    while len(scenes) < count:
        scene = draw_scene(rng, split=split)
        place = scene.place if scene.kind == "pair" else ""
        scenes.setdefault((scene.item, scene.other, scene.count, scene.background, place), scene)
    return list(scenes.values())


def recall(similarity: Tensor, at: tuple[int, ...] = (1, 5, 10)) -> tuple[float, ...]:
    """Share of rows whose own column ranks among the best k, for (n, n) similarities of matching order."""
    own = similarity.diagonal().unsqueeze(1)
    # Ties count against: an equal score elsewhere could as well have come first.
    ranks = (similarity >= own).sum(dim=1)
    return tuple((ranks <= k).float().mean().item() for k in at)


def quick_recall(model: CLIP, tokenizer: SimpleTokenizer, *, scenes: int, seed: int = 99) -> str:
    """Recall both ways over small unseen pictures, for a training log; `evaluate` has the real measurement."""
    rng = random.Random(seed)
    chosen, renderer = distinct_scenes(scenes, rng, split="unseen"), FastRenderer()
    images = to_tensor([renderer.render(scene, rng) for scene in chosen])
    tokens = tokenizer([describe(scene, rng, full=True).text for scene in chosen])
    with torch.inference_mode():
        image_vectors = torch.cat([normalize(model.encode_image(part), dim=-1) for part in torch.split(images, _CHUNK)])
        text_vectors = torch.cat([normalize(encode_text(model, part), dim=-1) for part in torch.split(tokens, _CHUNK)])
    both = (text_vectors @ image_vectors.T, image_vectors @ text_vectors.T)
    return ", ".join("/".join(f"{value:.3f}" for value in recall(each)) for each in both)
