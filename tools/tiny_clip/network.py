"""The tiny CLIP itself, and the heads that help it learn and are thrown away afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tools.tiny_clip.captions import NOTHING, UNSAID
from tools.tiny_clip.objects import things
from tools.tiny_clip.render import TRAINING_SIZE
from tools.tiny_clip.vocabulary import CONTEXT_LENGTH, VOCABULARY_SIZE
from tools.tiny_clip.world import BACKGROUNDS, COUNTS, PLACES

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 256,
    # Convolutions: at this size they run twice as fast on a processor as a transformer of patches, and need not
    # learn from data that an object is the same object wherever it stands.
    "vision_cfg": {
        "image_size": TRAINING_SIZE,
        "layers": [1, 1, 1, 1],
        "width": 28,
        "head_width": 64,
        "patch_size": None,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": VOCABULARY_SIZE,
        "width": 128,
        "heads": 4,
        "layers": 3,
    },
}
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PREPROCESS_CONFIG: dict[str, Any] = {
    "size": TRAINING_SIZE,
    "mode": "RGB",
    "mean": list(MEAN),
    "std": list(STD),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}

_HEAD_SCALE = 24.0  # sharpness of the helper heads over unit vectors


def build(config: dict[str, Any] | None = None) -> CLIP:
    """A fresh model with random weights, in training mode."""
    return CLIP(**(config or MODEL_CONFIG))


def encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """Text vectors (n, embed_dim), not normalised, from tokens (n, context) int64.

    Reads only up to the longest end-of-text: in a causal tower nothing behind it is ever looked at.
    """
    ends = tokens.argmax(dim=-1)
    length = int(ends.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    pooled: Tensor = x[torch.arange(len(x)), ends] @ model.text_projection
    return pooled


class HelperHeads(nn.Module):
    """Classifiers of the facts, shared by pictures and captions.

    One set of weights reads both kinds of vector, so the two towers agree on a place for each object, number, colour
    and arrangement long before the contrastive loss alone would bring them together. Training only; not exported.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (len(things()), len(things()) + 1, len(COUNTS), len(BACKGROUNDS), len(PLACES))
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, vectors: Tensor, facts: Tensor) -> Tensor:
        """Mean loss over the facts known: unit vectors (n, width), facts (n, 5) int64 with -1 for unsaid."""
        # "A dog and a cat" does not say which of the two comes first.
        unordered = (facts[:, 4] == UNSAID) & (facts[:, 1] >= 0)
        first, second, count, background, place = facts.unbind(dim=1)
        targets = (
            torch.where(unordered, UNSAID, first),
            # No second object is a class of its own.
            torch.where(unordered, UNSAID, torch.where(second == NOTHING, len(things()), second)),
            # One to four become classes; "several" is left out with the unsaid.
            torch.where(count > 0, count - 1, UNSAID),
            background,
            place,
        )
        losses = [
            cross_entropy(_HEAD_SCALE * head(vectors), target, ignore_index=UNSAID)
            for head, target in zip(self.heads, targets, strict=True)
            if bool((target >= 0).any())
        ]
        return torch.stack(losses).mean()


class MovingAverage:
    """An exponential moving average of a model's weights and statistics; what is exported and tested."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Moves towards the model; faster in the first steps, when the past is worth little."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Inside, `model` holds the averaged weights and is in evaluation mode."""
        trained = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.state)
        model.eval()
        try:
            yield
        finally:
            model.load_state_dict(trained)
            model.train()
