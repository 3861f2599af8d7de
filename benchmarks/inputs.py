"""Models, pictures and texts to measure with: made here, the same in every run."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

_WIDTH, _HEIGHT = 640, 480
_GRID = (12, 9)
_GRAIN = 6.0
_QUALITY = 85
_LEAST_WORDS, _MOST_WORDS = 4, 12
_WORDS = tuple(
    """a photo of red blue old small dog cat house bridge car tree boat on under near the table grass road snow
morning night two three people walking running sleeping with an umbrella yellow green wooden empty full city river""".split()  # noqa: SIM905 -- a list of forty strings reads worse
)


def photographs(count: int) -> list[bytes]:
    """JPEGs of 640 x 480 pixels that compress about as photographs do: soft shapes with grain, 45 to 60 kB, no two alike."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        shapes = Image.fromarray(random.integers(0, 256, (*_GRID[::-1], 3), dtype=np.uint8))
        smooth = np.asarray(shapes.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC), np.float32)
        grain = random.normal(0, _GRAIN, (_HEIGHT, _WIDTH, 1)).astype(np.float32)
        content = io.BytesIO()
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=_QUALITY)
        made.append(content.getvalue())
    return made


def captions(count: int) -> list[str]:
    """Texts of 4 to 12 words, no two alike."""
    random = np.random.default_rng(1)
    made: dict[str, None] = {}
    while len(made) < count:
        made[" ".join(random.choice(_WORDS, random.integers(_LEAST_WORDS, _MOST_WORDS + 1)))] = None
    return list(made)


def random_model(folder: Path, arch: str = "ViT-B-32") -> str:
    """Write a model of random weights, which cost as much as trained ones and need no network; returns its spec."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model_cfg = open_clip.get_model_config(arch)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}))
    save_file(open_clip.create_model(arch).state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"
