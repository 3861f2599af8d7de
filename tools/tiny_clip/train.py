"""Trains the tiny CLIP on rendered scenes and exports it.

Usage: python -m tools.tiny_clip.train --pairs 660000 --out build/tiny_clip/model [--minutes 30] [--resume]

Two cores take about an hour for 660,000 pairs. `--minutes` stops a run early; `--resume` goes on from the last
checkpoint of the same run, with fresh scenes.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from tools.tiny_clip.batches import Batch, BatchMaker
from tools.tiny_clip.captions import spoken_phrases
from tools.tiny_clip.export import export
from tools.tiny_clip.network import HelperHeads, MovingAverage, build, encode_text
from tools.tiny_clip.scores import quick_recall
from tools.tiny_clip.vocabulary import tokenizer, write_vocabulary

_WARMUP_STEPS = 200
_DECAY_FROM = 0.5  # part of the run after which the learning rate falls
_MAX_LOGIT_SCALE = 100.0
_REPORT_EVERY = 100  # steps
_EXPORT_EVERY = 200  # steps


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. `rate` is AdamW's peak learning rate; `pairs` the length of the schedule."""

    out: Path
    pairs: int
    minutes: float
    batch: int
    rate: float
    helper_weight: float
    seed: int
    resume: bool

    @property
    def steps(self) -> int:
        """Optimiser steps in the whole schedule."""
        return max(1, self.pairs // self.batch)


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, excluded: Tensor) -> Tensor:
    """CLIP's symmetric cross entropy over unit vectors (n, width) and (m, width), the pairs in `excluded` left out.

    Radford et al. 2021, figure 3. The first n texts are the images' own; any further ones are only wrong answers. The
    exclusion keeps a caption from being punished for another picture it fits.
    """
    logits = (scale * texts @ images.T).masked_fill(excluded, float("-inf"))
    own = torch.arange(len(images))
    return (cross_entropy(logits[: len(images)], own) + cross_entropy(logits.T, own)) / 2


def rate_at(step: int, plan: Plan) -> float:
    """Learning rate: warm-up, a long plateau, then a straight fall to nothing."""
    progress = step / plan.steps
    fall = min(1.0, max(0.0, (1 - progress) / (1 - _DECAY_FROM)))
    return plan.rate * min(1.0, (step + 1) / _WARMUP_STEPS) * fall


class Trainer:
    """Model, helpers, optimiser and average of one run, and their checkpoint."""

    def __init__(self, plan: Plan) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.model = build()
        self.model.visual = self.model.visual.to(memory_format=torch.channels_last)
        self.heads = HelperHeads(self.model.text_projection.shape[1])
        self.average = MovingAverage(self.model, decay=0.998)
        self.optimizer = torch.optim.AdamW(_groups(self.model, self.heads), lr=plan.rate, betas=(0.9, 0.98))
        self.step = 0
        self._checkpoint = plan.out / "checkpoint.pt"

    def learn(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the parts of the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.plan)
        pixels = batch.images.contiguous(memory_format=torch.channels_last)
        # bfloat16 takes a third off the convolutions on processors that have it; the small text tower gains nothing.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            images = self.model.encode_image(pixels)
        images = normalize(images.float(), dim=-1)
        texts = normalize(encode_text(self.model, batch.tokens), dim=-1)
        scale = self.model.logit_scale.exp()
        contrast = contrastive_loss(images, texts, scale, batch.excluded)
        seen, said = self.heads(images, batch.shown), self.heads(texts, batch.said)
        loss = contrast + self.plan.helper_weight * (seen + said)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=torch.tensor(_MAX_LOGIT_SCALE).log())
        self.average.update(self.model, self.step)
        self.step += 1
        return {
            "contrast": contrast.item(),
            "pictures": seen.item(),
            "captions": said.item(),
            "scale": scale.item(),
        }

    def save(self) -> None:
        """Writes the checkpoint that `load` reads, whole or not at all."""
        parts = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "average": self.average.state,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        fresh = self._checkpoint.with_suffix(".new")
        torch.save(parts, fresh)
        fresh.replace(self._checkpoint)

    def load(self) -> None:
        """Goes back to the last checkpoint; raises FileNotFoundError where there is none."""
        parts = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(parts["model"])
        self.heads.load_state_dict(parts["heads"])
        self.average.state = parts["average"]
        self.optimizer.load_state_dict(parts["optimizer"])
        self.step = parts["step"]


def _groups(model: CLIP, heads: HelperHeads) -> list[dict[str, Any]]:
    """Weights with decay and without: vectors, scalars and embeddings are not pulled to zero."""
    named = [*model.named_parameters(), *heads.named_parameters()]
    plain = [value for name, value in named if value.ndim <= 1 or "embedding" in name]
    decayed = [value for name, value in named if not (value.ndim <= 1 or "embedding" in name)]
    return [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]


def run(plan: Plan) -> None:
    """Trains by the plan, prints progress, exports at intervals and at the end."""
    plan.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan)
    if plan.resume:
        trainer.load()
    write_vocabulary(plan.out, spoken_phrases())
    words = tokenizer(plan.out)
    # A resumed run draws new scenes rather than those it has seen.
    maker = BatchMaker(words, seed=plan.seed + 1_000_003 * trainer.step)
    start = time.monotonic()
    # One thread draws the next batch while torch, which lets go of the interpreter's lock, learns from this one.
    with ThreadPoolExecutor(max_workers=1) as drawing:
        ahead = drawing.submit(maker.next, plan.batch)
        while trainer.step < plan.steps and time.monotonic() - start < plan.minutes * 60:
            batch, ahead = ahead.result(), drawing.submit(maker.next, plan.batch)
            losses = trainer.learn(batch)
            if trainer.step % _REPORT_EVERY == 0:
                with trainer.average.swapped_in(trainer.model):
                    recall = quick_recall(trainer.model, words, scenes=500)
                parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
                print(f"{time.monotonic() - start:6.0f} s step {trainer.step}: {parts}; unseen {recall}", flush=True)
            if trainer.step % _EXPORT_EVERY == 0:
                trainer.save()
                export(trainer.average.state, plan.out)
    trainer.save()
    export(trainer.average.state, plan.out)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and exported model")
    parser.add_argument("--pairs", type=int, default=660_000, help="length of the schedule in picture-caption pairs")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop and save after this long")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--helper-weight", type=float, default=1.0, help="weight of the helper heads' losses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    options = vars(parser.parse_args())
    torch.set_num_threads(options.pop("threads"))
    run(Plan(**options))


if __name__ == "__main__":
    main()
