"""A model built without random numbers is, once loaded, bit for bit the one OpenCLIP loads itself."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from crossmodal.clip.catalogue import resolve
from crossmodal.clip.device import Precision
from crossmodal.clip.spec import BUNDLED, LocalFolder
from crossmodal.clip.unfilled import Unfilled
from crossmodal.clip.weights import build_model
from tests.unit.clip.model_folders import SMALL, with_vision, write_folder

RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}


def tensors(model: Any) -> dict[str, torch.Tensor]:
    """Parameters and every buffer, those that no weights file holds too."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["bundled", "transformer", "resnet"])
def test_equal_to_openclips_own(kind: str, precision: Precision, tmp_path: Path) -> None:
    configurations = {"transformer": SMALL, "resnet": with_vision(**RESNET)}
    configuration = configurations.get(kind)
    folder = write_folder(tmp_path / "model", model_cfg=configuration) if configuration else BUNDLED["tiny"]
    ours = tensors(build_model(resolve(LocalFolder(folder, "model")), precision))
    reference = open_clip.create_model(f"local-dir:{folder}", precision=precision).eval()
    theirs = tensors(reference)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        if name in {"logit_scale", "logit_bias"}:  # kept in fp32, however the model is
            assert ours[name].dtype == torch.float32
            assert torch.equal(ours[name].to(tensor.dtype), tensor), name
        else:
            assert ours[name].dtype == tensor.dtype, name
            assert torch.equal(ours[name], tensor), name


def test_what_is_not_random_is_computed() -> None:
    with Unfilled():
        norm: Any = torch.nn.LayerNorm(4)
        mask: Any = torch.full((3, 3), float("-inf")).triu_(1)
        halved = torch.ones(2).to(torch.bfloat16)
    assert norm.weight.tolist() == [1.0] * 4
    assert mask[0].tolist() == [0.0, float("-inf"), float("-inf")]
    assert halved.tolist() == [1.0, 1.0]


def test_no_random_number_is_drawn() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with Unfilled():
        layer: Any = torch.nn.Linear(8, 8)
        low = layer.weight.data.to(torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), before)
    assert (low.shape, low.dtype) == ((8, 8), torch.bfloat16)
