from typing import Any

import numpy as np
import pytest
import torch
from open_clip.coca_model import CoCa

from crossmodal.clip.text_tower import CutTextTower, StockTextTower, cuttable_tower, unit_rows
from tests.unit.clip.model_folders import CONTEXT, SMALL, VOCABULARY, build, with_text

CUSTOM = {"custom_text": True}


def ids(*lengths: int, end: int = VOCABULARY - 1) -> torch.Tensor:
    """Rows of random tokens that end at the given lengths."""
    rows = torch.zeros(len(lengths), CONTEXT, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = torch.randint(3, VOCABULARY - 2, (length,), generator=generator)
        row[length - 1] = end
    return rows


def encode_cut(tower: CutTextTower, rows: torch.Tensor) -> torch.Tensor:
    return tower.encode(rows[:, : tower.length(rows)])


@pytest.mark.parametrize(
    ("config", "end"),
    [
        (SMALL, VOCABULARY - 1),
        (with_text(pool_type="eos", eos_id=2), 2),
        ({**SMALL, **CUSTOM}, VOCABULARY - 1),
        ({**with_text(pool_type="eos", eos_id=2), **CUSTOM}, 2),
        ({**with_text(proj_bias=True), **CUSTOM}, VOCABULARY - 1),
        ({**with_text(proj_type="none", width=32), **CUSTOM}, VOCABULARY - 1),
    ],
)
@pytest.mark.parametrize("lengths", [(2,), (CONTEXT,), (3, 7, 5), (2, CONTEXT)])
def test_cutting_gives_the_features_of_encode_text(config: dict[str, Any], end: int, lengths: tuple[int, ...]) -> None:
    model = build(config)
    tower = cuttable_tower(model)
    assert tower is not None
    with torch.inference_mode():
        stock = StockTextTower(model).encode(ids(*lengths, end=end))
        cut = encode_cut(CutTextTower(tower), ids(*lengths, end=end))
    assert float((cut - stock).abs().max()) < 1e-5
    if len(lengths) > 1:
        rows = unit_rows(stock)
        assert float(rows[0] @ rows[1]) < 0.99


def test_blocks_run_position_first_until_the_tower_is_released() -> None:
    model = build(SMALL)
    shapes: list[tuple[int, ...]] = []
    model.transformer.resblocks[0].register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    with torch.inference_mode():
        before = model.encode_text(ids(3, 7))
        tower = CutTextTower(cuttable_tower(model))
        encode_cut(tower, ids(3, 7))
        tower.release()
        after = model.encode_text(ids(3, 7))
    assert shapes == [(2, CONTEXT, 32), (7, 2, 32), (2, CONTEXT, 32)]
    assert torch.equal(before, after)


def test_blocks_of_other_kinds_are_run_as_they_come() -> None:
    model = build(with_text(qk_norm=True))
    with torch.inference_mode():
        stock = model.encode_text(ids(3, 7))
        cut = encode_cut(CutTextTower(cuttable_tower(model)), ids(3, 7))
    assert float((cut - stock).abs().max()) < 1e-5


def test_positions_after_the_longest_text_are_not_computed() -> None:
    model = build(SMALL)
    seen: list[tuple[int, ...]] = []
    model.transformer.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.inference_mode():
        encode_cut(CutTextTower(cuttable_tower(model)), ids(3, 7, 5))
    assert seen == [(3, 7, 32)]


def test_the_stock_tower_needs_every_position() -> None:
    assert StockTextTower(build(SMALL)).length(ids(3, 7)) == CONTEXT


@pytest.mark.parametrize(
    "config",
    [
        with_text(no_causal_mask=True),
        with_text(pool_type="last"),
        with_text(pool_type="first"),
        {**with_text(no_causal_mask=True), **CUSTOM},
        {**with_text(pool_type="last"), **CUSTOM},
        {**with_text(embed_cls=True), **CUSTOM},
        {**with_text(output_tokens=True), **CUSTOM},
    ],
)
def test_towers_that_need_every_position_are_left_alone(config: dict[str, Any]) -> None:
    assert cuttable_tower(build(config)) is None


def test_a_mask_that_is_not_causal_is_noticed() -> None:
    model = build(SMALL)
    model.attn_mask[0, 1] = 0.0
    assert cuttable_tower(model) is None


def test_coca_is_left_alone() -> None:
    torch.manual_seed(0)
    decoder = {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 32, "heads": 2, "layers": 1}
    assert cuttable_tower(CoCa(**SMALL, multimodal_cfg=decoder)) is None


def test_rows_come_out_in_float32_of_unit_length() -> None:
    rows = unit_rows(torch.full((2, 3), 7.0, dtype=torch.bfloat16))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, np.full((2, 3), 3**-0.5), rtol=1e-6)
