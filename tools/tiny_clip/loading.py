"""The exported model as a user gets it: through OpenCLIP, with OpenCLIP's own image transform."""

import io
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from tools.tiny_clip.render import GALLERY_SIZE, render
from tools.tiny_clip.vocabulary import tokenizer
from tools.tiny_clip.world import Scene

MODEL_FOLDER = Path("models/tiny")

_CHUNK = 128


class Encoder:
    """Pictures and sentences to unit vectors, float32, by the model in one folder."""

    def __init__(self, folder: Path = MODEL_FOLDER) -> None:
        # This loader raises where weights are missing; OpenCLIP's others only warn and stay random.
        self._model, self._transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        self._model.eval()
        self._tokenizer = tokenizer(folder)

    def images(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Vectors (n, embed_dim) of RGB pictures of any size."""
        with ThreadPoolExecutor() as threads:
            pixels = torch.stack(list(threads.map(self._transform, pictures)))
        with torch.inference_mode():
            return torch.cat(
                [normalize(self._model.encode_image(part), dim=-1) for part in torch.split(pixels, _CHUNK)]
            )

    def texts(self, sentences: Sequence[str]) -> Tensor:
        """Vectors (n, embed_dim) of sentences."""
        tokens = self._tokenizer(list(sentences))
        with torch.inference_mode():
            return torch.cat([normalize(self._model.encode_text(part), dim=-1) for part in torch.split(tokens, _CHUNK)])


def photographs(scenes: Sequence[Scene], rng: random.Random) -> list[Image.Image]:
    """Scenes as a user would send them: 320 pixels a side, through a lossy WebP file."""
    seeds = [rng.getrandbits(64) for _ in scenes]
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_photograph, scenes, seeds))


def _photograph(scene: Scene, seed: int) -> Image.Image:
    file = io.BytesIO()
    # The fastest of the encoder's efforts: it changes the file's size, hardly its look.
    render(scene, random.Random(seed), side=GALLERY_SIZE).save(file, "WEBP", quality=80, method=0)
    return Image.open(file).convert("RGB")
