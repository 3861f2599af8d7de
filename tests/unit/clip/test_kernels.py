"""What PyTorch keeps for shapes of batches stays bounded, in a process of its own, since the bounds are read once."""

import subprocess
import sys

from tools.servers import ROOT

PROGRAM = """
import psutil, torch
from crossmodal.clip.kernels import bound_kernel_caches
if {bounded}:
    bound_kernel_caches()
torch.set_num_threads(1)
layers = [torch.nn.Linear(256, 1024).to(torch.bfloat16) for _ in range(4)]
def grown(sizes):
    before = psutil.Process().memory_info().rss
    with torch.inference_mode():
        for size in sizes:
            for layer in layers:
                layer(torch.zeros(size, 256, dtype=torch.bfloat16))
    return psutil.Process().memory_info().rss - before
grown(range(1, 60))
print(grown(range(60, 220)))
"""


def growth(*, bounded: bool) -> int:
    program = PROGRAM.format(bounded=bounded)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return int(ended.stdout)


def test_new_shapes_take_no_more_memory_once_the_caches_are_full() -> None:
    assert growth(bounded=True) < growth(bounded=False) / 2
