"""Probabilities of texts for a picture, from cosines and the model's own scale.

A CLIP model is trained to pick the right text of a batch by a softmax over ``scale * cosine``, so the same softmax over
the labels of a question gives probabilities of which of them fits (A. Radford et al., "Learning Transferable Visual
Models From Natural Language Supervision", ICML 2021, section 3.1.2). A SigLIP model is trained to tell for each text by
itself whether it fits, by a sigmoid of ``scale * cosine + bias`` (X. Zhai et al., "Sigmoid Loss for Language Image
Pre-Training", ICCV 2023), which therefore are probabilities of their own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossmodal.clip.base import ModelInfo
from crossmodal.records import Embedding, Embeddings, Modality
from crossmodal.search.relevance import Calibration

Cosines = NDArray[np.float64]
"""float64 [n], each -1 to 1: a picture's with n texts."""

Probabilities = NDArray[np.float64]
"""float64 [n], each 0 to 1."""

_LEAST_NORM = 1e-12


def cosines(texts: Embeddings, picture: Embedding) -> Cosines:
    """Cosines, float64 [n], of unit embeddings [n, dim] and one of [dim]."""
    products: Cosines = texts.astype(np.float64) @ picture.astype(np.float64)
    return np.clip(products, -1.0, 1.0)


def even_odds(info: ModelInfo) -> float:
    """The cosine, -1 to 1, of a text and a picture at which a match is as likely as not.

    With a bias it is where the model's own sigmoid is 0.5, ``-bias / scale``; without one, the midpoint of the calibration
    of (text, image), which for a model without a fitted calibration is rough.

    Put among the cosines of a softmax it stands for "none of these": a softmax knows only its labels and gives the best
    of bad ones a high probability, as if one of them had to be right. With this pseudo-class a label that is likelier a
    match than not has odds above 1 against it, and one that is not has odds below 1.
    """
    if info.logit_bias is not None:
        return float(np.clip(-info.logit_bias / info.logit_scale, -1.0, 1.0))
    return Calibration(info.calibration).midpoint(Modality.TEXT, Modality.IMAGE)


def which(info: ModelInfo, scores: Cosines) -> Probabilities:
    """Which of the texts fits: the model's softmax over their cosines [n], n >= 1. Sums to 1."""
    logits = info.logit_scale * scores
    weights = np.exp(logits - logits.max())
    shares: Probabilities = weights / weights.sum()
    return shares


def each(info: ModelInfo, scores: Cosines) -> Probabilities:
    """Whether each of the texts fits, by itself: the model's sigmoid, or without a bias the calibrated relevance."""
    if info.logit_bias is not None:
        # The same as 1 / (1 + exp(-x)), without its overflow far below zero.
        fits: Probabilities = 0.5 * (1.0 + np.tanh(0.5 * (info.logit_scale * scores + info.logit_bias)))
        return fits
    calibration = Calibration(info.calibration)
    return np.array([calibration.relevance(Modality.TEXT, Modality.IMAGE, float(score)) for score in scores])


def fill(template: str, label: str) -> str:
    """``template`` with every ``{}`` replaced; other braces, in either, are characters like any other."""
    return template.replace("{}", label)


def prompts(labels: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every label in every template: all of the first label, then all of the second."""
    return [fill(template, label) for label in labels for template in templates]


def ensemble(embeddings: Embeddings, templates: int) -> Embeddings:
    """Of embeddings [labels * templates, dim], ordered as by ``prompts``, one for each label: the unit vector of the mean.

    So does Radford et al. 2021, section 3.1.4.
    """
    means = embeddings.reshape(-1, templates, embeddings.shape[1]).mean(axis=1)
    norms = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), _LEAST_NORM)
    units: Embeddings = (means / norms).astype(np.float32)
    return units
