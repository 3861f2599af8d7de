"""Training batches: scenes, pictures, captions and who may count as whose wrong answer."""

import io
import random
from dataclasses import dataclass

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor

from tools.tiny_clip.captions import agreement, describe, scene_facts
from tools.tiny_clip.network import MEAN, STD
from tools.tiny_clip.render import GALLERY_SIZE, TRAINING_SIZE, FastRenderer, render
from tools.tiny_clip.world import Scene, draw_neighbour, draw_scene, exchanged, is_held_out

_NEIGHBOUR_SHARE = 0.5
_FULL_PATH_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Batch:
    """Matching pictures and captions.

    `images` (n, 3, 64, 64) float32, normalised, with the facts they show, `shown` (n, 5) int64. `tokens` (m, context)
    int64 of the captions with the facts they say, `said` (m, 5) int64: first the pictures' own in order, then wrong
    ones that only exchange a pair's two objects. `excluded` (m, n) bool: the caption is true of a picture that is not
    its own.
    """

    images: Tensor
    tokens: Tensor
    said: Tensor
    shown: Tensor
    excluded: Tensor


class BatchMaker:
    """Draws endless batches of seen scenes from one seeded generator."""

    def __init__(self, tokenizer: SimpleTokenizer, *, seed: int) -> None:
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._noise = torch.Generator().manual_seed(seed)
        self._renderer = FastRenderer()

    def scenes(self, size: int) -> list[Scene]:
        """`size` scenes that training may show; about half are a near miss of the one before."""
        scenes: list[Scene] = []
        while len(scenes) < size:
            near = scenes and self._rng.random() < _NEIGHBOUR_SHARE
            scenes.append(draw_neighbour(scenes[-1], self._rng) if near else draw_scene(self._rng))
        return scenes

    def next(self, size: int) -> Batch:
        """The next batch of `size` pairs."""
        scenes = self.scenes(size)
        captions = [describe(scene, self._rng) for scene in scenes]
        captions += [describe(scene, self._rng, full=True) for scene in _exchanges(scenes)]
        said = np.array([caption.facts for caption in captions], dtype=np.int16)
        shown = np.array([scene_facts(scene) for scene in scenes], dtype=np.int16)
        excluded = torch.from_numpy(agreement(said, shown))
        excluded[:size].fill_diagonal_(fill_value=False)
        return Batch(
            images=self._disturb(to_tensor([self._picture(scene) for scene in scenes])),
            tokens=self._tokenizer([caption.text for caption in captions]),
            said=torch.from_numpy(said).long(),
            shown=torch.from_numpy(shown).long(),
            excluded=excluded,
        )

    def _picture(self, scene: Scene) -> Image.Image:
        if self._rng.random() >= _FULL_PATH_SHARE:
            return self._renderer.render(scene, self._rng)
        # The gallery's way: large, through a lossy file, and down again.
        file = io.BytesIO()
        large = render(scene, self._rng, side=GALLERY_SIZE)
        large.save(file, self._rng.choice(("JPEG", "WEBP")), quality=self._rng.randint(50, 95))
        return Image.open(file).convert("RGB").resize((TRAINING_SIZE, TRAINING_SIZE), Image.Resampling.BICUBIC)

    def _disturb(self, images: Tensor) -> Tensor:
        """Slight changes of brightness, contrast and grain, in normalised units."""
        shape = (len(images), 1, 1, 1)

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=self._noise)

        grain = torch.randn(images.shape, generator=self._noise) * uniform(0.0, 0.08)
        return images * uniform(0.93, 1.07) + uniform(-0.08, 0.08) + grain


def _exchanges(scenes: list[Scene]) -> list[Scene]:
    """The pairs among `scenes` with their objects exchanged, where training may know of that scene.

    Yuksekgonul et al. 2023 (NegCLIP): without captions that differ in word order alone, a contrastive model reads
    sentences as bags of words.
    """
    turned = [exchanged(scene) for scene in scenes if scene.kind == "pair"]
    return [scene for scene in turned if not is_held_out(scene)]


def to_tensor(pictures: list[Image.Image]) -> Tensor:
    """RGB pictures of one size as a normalised (n, 3, side, side) float32 tensor, as OpenCLIP's transform gives."""
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std
