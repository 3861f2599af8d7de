"""The bounds of PyTorch's caches are there before it computes, and an operator's own stay. What they are worth shows in a soak."""

import os
import subprocess
import sys

from tools.servers import ROOT

PROGRAM = """
import os
from crossmodal.clip.loading import load_model
load_model("tiny", runtime="torch")
print(os.environ["LRU_CACHE_CAPACITY"], os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])
"""


def test_loading_a_model_bounds_what_is_kept_for_shapes_of_batches() -> None:
    given = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=given | {"LRU_CACHE_CAPACITY": "7"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ended.stdout.splitlines()[-1] == "7 128"
