"""OpenVINO against PyTorch on this CPU, in one run: `python -m benchmarks.runtimes [--int8]`.

Pictures and texts a second in batches of one and in full ones, the two runtimes in turns in one process, and the time
that a process of its own takes to load the model. Without --model, ViT-B-32 with random weights: they cost as much as
trained ones and need no network. With --int8, OpenVINO in int8 too, calibrated on the sample gallery.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.inputs import random_model
from crossmodal.clip.base import ClipModel
from crossmodal.clip.exporting import export_model
from crossmodal.clip.loading import load_model
from crossmodal.clip.quality import INT8_QUALITY, Quantizing, Samples
from crossmodal.imaging import prepare
from crossmodal.records import Preprocessing
from tools.servers import ROOT

ROUNDS = 6
CALIBRATING = 32
"""Pictures, and texts, for int8: they change its embeddings, not its speed."""
ITEMS = {"images": 16, "texts": 64}
"""Embedded by each runtime in a round, at least."""
BATCHES = {"images": (1, 16), "texts": (1, 32)}
WORDS = [
    "a",
    "photo",
    "of",
    "red",
    "blue",
    "dog",
    "cat",
    "house",
    "on",
    "the",
    "table",
    "old",
    "bridge",
    "two",
    "people",
]

LOAD = """
import sys, time
began = time.perf_counter()
from crossmodal.clip.loading import load_model
model = load_model(sys.argv[1], device="cpu", runtime=sys.argv[2])
anonymous = next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous"))
print(time.perf_counter() - began, int(anonymous.split()[1]) // 1024)
"""


def rate(embed: Callable[[], object], batch: int, items: int) -> float:
    """Items a second."""
    runs = max(1, items // batch)
    began = time.perf_counter()
    for _ in range(runs):
        embed()
    return batch * runs / (time.perf_counter() - began)


def compare(kind: str, batch: int, models: dict[str, ClipModel], random: np.random.Generator) -> dict[str, object]:
    """Both runtimes on the same batches, in turns."""
    size = models["torch"].info.preprocessing.size
    rates: dict[str, list[float]] = {name: [] for name in models}
    cosine = 1.0
    for _ in range(ROUNDS):
        pixels = random.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        texts = [" ".join(random.choice(WORDS, random.integers(3, 12))) for _ in range(batch)]
        found = []
        for name, model in models.items():

            def embed(model: ClipModel = model) -> np.ndarray:
                return model.embed_pixels(pixels) if kind == "images" else model.embed_texts(texts).embeddings  # noqa: B023 - called in this round

            found.append(embed())  # and warm for this shape
            rates[name].append(rate(embed, batch, ITEMS[kind]))
        cosine = min(cosine, float((found[0] * found[1]).sum(axis=1).min()))
    return {
        "what": kind,
        "batch": batch,
        **{name: round(statistics.median(each), 1) for name, each in rates.items()},
        **ratio(rates["openvino"], rates["torch"]),
        "least_cosine": round(cosine, 6),
        **({"int8_over_openvino": ratio(rates["int8"], rates["openvino"])} if "int8" in rates else {}),
    }


def ratio(ours: list[float], theirs: list[float]) -> dict[str, object]:
    """How many times as fast the first was, round by round."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return {"ratio": round(statistics.median(ratios), 2), "range": [round(min(ratios), 2), round(max(ratios), 2)]}


def samples(preprocessing: Preprocessing) -> Samples:
    """The sample gallery and its captions."""
    files = sorted((ROOT / "samples" / "images").rglob("*.webp"))[: 2 * CALIBRATING]
    lines = (ROOT / "samples" / "captions.jsonl").read_text("utf-8").splitlines()
    texts = list(dict.fromkeys(json.loads(line)["text"] for line in lines))[: 2 * CALIBRATING]
    pixels = np.stack([prepare(file.read_bytes(), preprocessing).pixels for file in files])
    return Samples(pixels, [""] * len(pixels), texts)


def loading(spec: str, runtime: str) -> dict[str, object]:
    """Seconds from a bare Python to the model, and what of its memory cannot be dropped."""
    outcome = subprocess.run(  # noqa: S603 - this Python, with folders made here or a spec of whoever runs it
        [sys.executable, "-c", LOAD, spec, runtime], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, mib = outcome.stdout.split()[-2:]
    return {"what": "load", "runtime": runtime, "seconds": round(float(seconds), 2), "anonymous_mib": int(mib)}


def main() -> None:
    """Measure and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", help="as CROSSMODAL_MODEL names it")
    parser.add_argument("--int8", action="store_true", help="OpenVINO in int8, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spec = options.model or random_model(Path(folder) / "source")
        quantizing = Quantizing(samples, CALIBRATING, accept=True) if options.int8 else None
        made = export_model(spec, out=Path(folder) / "export", exports=Path(folder), quantizing=quantizing)
        export = f"local-dir:{made}"
        if options.int8:
            report = json.loads((made / INT8_QUALITY).read_text("utf-8"))
            print(json.dumps({"what": "int8", **{kind: report[kind] for kind in ("pictures", "texts")}}), flush=True)
        for _ in range(2):
            for runtime, each in (("openvino", export), ("torch", spec)):
                print(json.dumps(loading(each, runtime)), flush=True)
        models = {
            "openvino": load_model(export, device="cpu", runtime="openvino"),
            "torch": load_model(spec, device="cpu", runtime="torch"),
        }
        if options.int8:
            models["int8"] = load_model(export, device="cpu", precision="int8")
        precisions = {name: model.info.precision for name, model in models.items()}
        print(json.dumps({"what": "machine", "cores": os.cpu_count(), "load": os.getloadavg(), **precisions}))
        random = np.random.default_rng(0)
        for kind, batches in BATCHES.items():
            for batch in batches:
                print(json.dumps(compare(kind, batch, models, random)), flush=True)


if __name__ == "__main__":
    main()
