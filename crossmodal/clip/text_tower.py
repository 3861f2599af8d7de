"""The text tower run on no more positions than the batch needs, where that changes nothing.

In a causal tower no position sees a later one, and pooling at the end-of-text reads one position: those after the
longest end-of-text of the batch are computed for nothing. Bidirectional towers (SigLIP, CLIPA, most of MobileCLIP),
towers that pool elsewhere, CoCa's appended class token and Hugging Face towers need every position.
"""

from typing import Any, Protocol

import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import ResidualAttentionBlock, TextTransformer

from crossmodal.records import Embeddings

__all__ = [
    "CutTextTower",
    "StockTextTower",
    "TextTower",
    "cuttable_tower",
    "encode_positions",
    "end_positions",
    "pooling",
    "unit",
    "unit_rows",
]


class TextTower(Protocol):
    """The way from token ids to features; ``any_length`` says whether positions after the longest text may be left out."""

    any_length: bool

    def length(self, ids: torch.Tensor) -> int:
        """How many positions of token ids int64 [n, context], on the host, have to be encoded."""

    def encode(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids int64 [n, at least ``length``] to features [n, dim], not normalised, in the model's precision.

        Nothing is read back from the device.
        """


class StockTextTower:
    """OpenCLIP's own ``encode_text``."""

    any_length = False

    def __init__(self, model: Any) -> None:
        self._model = model

    def length(self, ids: torch.Tensor) -> int:
        """All of the context."""
        return ids.shape[1]

    def encode(self, ids: torch.Tensor) -> torch.Tensor:
        """Encode all positions of the context."""
        features: torch.Tensor = self._model.encode_text(ids, normalize=False)
        return features


class CutTextTower:
    """The same features as ``encode_text`` from as many positions as it is given.

    Its blocks are set to run position first, until ``release``, as OpenCLIP's can. With the batch first, PyTorch's masked
    attention on a CPU multiplies the input projection once per position and in bf16 copies its weights each time: two
    texts of ViT-B-32 then take 12 times as long, eight 5 times, 32 almost twice. The numbers are the same.
    """

    any_length = True

    def __init__(self, tower: Any) -> None:
        _set_batch_first(tower.transformer, batch_first=False)
        self._tower = tower
        self._pool_type, self._eos_id = pooling(tower)

    def length(self, ids: torch.Tensor) -> int:
        """Up to the longest end-of-text."""
        return int(end_positions(ids, self._pool_type, self._eos_id).max()) + 1

    def encode(self, ids: torch.Tensor) -> torch.Tensor:
        """Encode the positions of ``ids``."""
        return encode_positions(self._tower, ids, end_positions(ids, self._pool_type, self._eos_id))

    def release(self) -> None:
        """Leave the tower as it was."""
        _set_batch_first(self._tower.transformer, batch_first=True)


def end_positions(ids: torch.Tensor, pool_type: str, eos_id: int) -> torch.Tensor:
    """Where the end-of-text of each row is, int64 [n]."""
    return ids.argmax(dim=-1) if pool_type == "argmax" else (ids == eos_id).int().argmax(dim=-1)


def encode_positions(tower: Any, ids: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Features [n, dim] of ids [n, length] that end at ``ends``; written so that it can be traced for any n and length."""
    length = ids.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    x = tower.token_embedding(ids).to(dtype) + tower.positional_embedding[:length].to(dtype)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length].to(dtype))
    x = tower.ln_final(x[torch.arange(x.shape[0], device=x.device), ends])
    projection = tower.text_projection
    if projection is None:
        features: torch.Tensor = x
    elif isinstance(projection, torch.nn.Linear):
        features = projection(x)
    else:
        features = x @ projection
    return features


def _set_batch_first(transformer: Any, *, batch_first: bool) -> None:
    if all(type(block) is ResidualAttentionBlock for block in transformer.resblocks):
        transformer.batch_first = batch_first
        for block in transformer.resblocks:
            block.attn.batch_first = batch_first


def cuttable_tower(model: Any) -> Any | None:
    """The module of ``model`` that holds the text tower if cutting is exact for it, else None."""
    if type(model) is CLIP:
        tower: Any = model
    elif type(model) is CustomTextCLIP and type(model.text) is TextTransformer:
        tower = model.text
        if tower.cls_emb is not None or tower.use_pad_mask or tower.output_tokens:
            return None
    else:
        return None
    pool_type, _ = pooling(tower)
    return tower if pool_type in {"argmax", "eos"} and _is_causal(tower.attn_mask) else None


def unit_rows(features: torch.Tensor) -> Embeddings:
    """Features [n, dim] of any precision to float32 on the host, each row of unit length: the norm is taken in float32."""
    rows: Embeddings = unit(features).cpu().numpy()
    return rows


def unit(features: torch.Tensor) -> torch.Tensor:
    """Features [n, dim] of any precision to float32 where they are, each row of unit length."""
    return torch.nn.functional.normalize(features.float(), dim=-1)


def pooling(tower: Any) -> tuple[str, int]:
    """How the tower finds the position that stands for a text, and the id of its end-of-text."""
    if isinstance(tower, CLIP):
        return tower.text_pool_type, tower.text_eos_id
    return tower.pool_type, tower.eos_id


def _is_causal(mask: torch.Tensor | None) -> bool:
    if mask is None:
        return False
    causal = torch.full_like(mask, float("-inf")).triu_(1)
    return bool(torch.equal(mask, causal))
