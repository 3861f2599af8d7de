"""How near the exported model comes to what this CPU can multiply: `python -m benchmarks.products`.

ViT-B-32 with random weights in the precision that the CPU has. In turns in one process: pictures through the model, and rows
through nothing but the two products of a hidden layer of that model, as many as it has layers, run by the same OpenVINO. A
picture is counted with its matrix products alone (`benchmarks/flops.py`), as it is for GPUs. Lone pictures and batches of 8,
one call at a time on all threads, and two calls side by side where the model takes them.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flops import image_flops
from benchmarks.inputs import random_model
from crossmodal.clip.base import ClipModel
from crossmodal.clip.exporting import export_model
from crossmodal.clip.loading import load_model
from crossmodal.clip.openvino_library import openvino

WAYS = ((1, 1), (8, 1), (8, 2))
"""Pictures in a call, and calls at a time."""
_HINT = {"bf16": "bf16", "fp32": "f32"}

Json = dict[str, float]


def products(
    width: int, ratio: int, layers: int, precision: str, callers: int
) -> list[Callable[[list[np.ndarray]], object]]:
    """Functions, one for each caller, that send rows [n, width] through ``layers`` times two products."""
    library = openvino()
    ops = library.opset13
    random = np.random.default_rng(0)

    def weights(rows: int, columns: int) -> Any:
        return ops.constant((random.standard_normal((rows, columns)) / columns**0.5).astype(np.float32))

    given = ops.parameter([-1, width], np.float32)
    last = given
    for _ in range(layers):
        last = ops.matmul(last, weights(ratio * width, width), transpose_a=False, transpose_b=True)
        last = ops.matmul(last, weights(width, ratio * width), transpose_a=False, transpose_b=True)
    hint = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": callers, "ENABLE_CPU_PINNING": False}
    compiled = library.Core().compile_model(library.Model([last], [given]), "CPU", hint)
    return [compiled.create_infer_request().infer for _ in range(callers)]


def rate(calls: Sequence[Callable[[], object]], seconds: float) -> float:
    """Calls a second of all together."""

    def repeat(call: Callable[[], object]) -> float:
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            call()
            done += 1
        return done / spent

    with ThreadPoolExecutor(len(calls)) as pool:
        return sum(pool.map(repeat, calls))


def compare(model: ClipModel, config: Mapping[str, Any], way: tuple[int, int], rounds: int, seconds: float) -> Json:
    """Medians of GFLOP/s, and of the share that the model has of the products' in the same round."""
    pictures, callers = way
    vision, size = config["vision_cfg"], model.info.preprocessing.size
    width, ratio, layers = vision["width"], int(vision.get("mlp_ratio", 4)), vision["layers"]
    pixels = np.random.default_rng(0).integers(0, 256, (pictures, size, size, 3), np.uint8)
    rows = np.ones((pictures * ((size // vision["patch_size"]) ** 2 + 1), width), np.float32)
    multiply = [
        partial(infer, [rows]) for infer in products(width, ratio, layers, _HINT[model.info.precision], callers)
    ]
    embed = [partial(model.embed_pixels, pixels)] * callers
    of_pictures, of_rows = pictures * (image_flops(config) or 0.0), 4.0 * rows.size * ratio * width * layers
    for calls in (embed, multiply):
        rate(calls, seconds)  # warm, and calls that meet have met
    found = [(of_pictures * rate(embed, seconds), of_rows * rate(multiply, seconds)) for _ in range(rounds)]
    whole, alone, shares = (
        statistics.median(each) for each in zip(*[(*one, one[0] / one[1]) for one in found], strict=True)
    )
    return {"pictures": pictures, "calls": callers, "model": whole / 1e9, "products": alone / 1e9, "share": shares}


def main() -> None:
    """Measure, and print one JSON object for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export = export_model(random_model(folder / "source"), out=folder / "export", exports=folder)
        config = json.loads((folder / "source" / "open_clip_config.json").read_text())["model_cfg"]
        model = load_model(f"local-dir:{export}", device="cpu")
        for way in WAYS:
            if way[1] <= model.info.calls:
                print(json.dumps(compare(model, config, way, arguments.rounds, arguments.seconds)), flush=True)


if __name__ == "__main__":
    main()
