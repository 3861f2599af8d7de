"""How OpenCLIP is imported, in processes of their own: an import happens once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.clip.model_folders import DIM, with_vision
from tools.servers import ROOT


def run(program: str, *arguments: str) -> object:
    """What the program prints last, read as JSON."""
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(outcome.stdout.splitlines()[-1])


def test_a_model_of_openclips_own_needs_neither_compiler_nor_timm(small_folder: Path) -> None:
    program = """
import json, sys
from crossmodal.clip.loading import load_model
model = load_model(sys.argv[1], device="cpu", precision="fp32", runtime="torch")
heavy = ["torch._dynamo", "torch._dynamo.utils", "sympy", "triton", "timm"]
print(json.dumps([model.info.dim, [name for name in heavy if name in sys.modules]]))
"""
    assert run(program, f"local-dir:{small_folder}") == [DIM, []]


def test_the_compiler_is_there_when_it_is_used() -> None:
    program = """
import json, sys
from crossmodal.clip.openclip_library import import_openclip
import_openclip()
hidden = "torch._dynamo" in sys.modules
from torchvision.ops import roi_align
asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
import torch._dynamo.utils
print(json.dumps([hidden, asked == torch._dynamo.utils.is_compile_supported("cpu"), callable(torch._dynamo.disable)]))
"""
    assert run(program) == [False, True, True]


@pytest.mark.parametrize("first", ["without", "with"])
def test_a_tower_of_timm_after_an_import_without_it(first: str) -> None:
    tower = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "token", "image_size": 160}
    configuration = {**with_vision(), "vision_cfg": tower}
    program = """
import json, sys
from crossmodal.clip.openclip_library import import_openclip
cfg = json.loads(sys.argv[1])
if sys.argv[2] == "without":
    import_openclip()
import_openclip(cfg)
import torch
from open_clip.model import CLIP
model = CLIP(**cfg).eval()
with torch.inference_mode():
    print(json.dumps(list(model.encode_image(torch.zeros(1, 3, 160, 160)).shape)))
"""
    assert run(program, json.dumps(configuration), first) == [1, DIM]
