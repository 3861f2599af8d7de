"""What a GPU does with this service's model, and what binds: `python -m benchmarks.gpu [--arch ViT-B-32]`.

Runs alone on a bare machine, without a network: the model has random weights, which cost as much as trained ones. The
device's own peaks come first (matrix products, copies), then pictures and texts a second at every stage: the towers on
the device, from the host with and without recorded graphs, by one caller and by two, JPEGs decoded by processes, and
JPEGs to vectors through decoders and batcher. Prints a table and writes JSON. `--device cpu` goes through the same code
in small, to test it.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks.device_probes import copy_rates, jpegs_decoded, matrix_peak, per_second, synchronise
from benchmarks.flops import image_flops, text_flops
from benchmarks.inputs import photographs, random_model
from benchmarks.runtimes import WORDS
from benchmarks.slow_pictures import jpeg_ordinary
from crossmodal.clip.catalogue import resolve
from crossmodal.clip.device import Precision, torch_dtype
from crossmodal.clip.loading import load_model
from crossmodal.clip.spec import parse_spec
from crossmodal.clip.torch_runtime import TorchClip
from crossmodal.encoder import BatchLimits, Lane, LocalEncoder
from crossmodal.imaging import ImageLimits
from crossmodal.records import Profile
from crossmodal.search.pictures import PictureReader
from tools.servers import ROOT

PICTURES = 64
"""Different ones."""
NO_DEVICE = 2
"""Exit status where there is no such device."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: sides of matrices, MiB of a copy, batches, JPEGs, and seconds for each figure.

    ``larger`` batches than the service makes go through the tower alone.
    """

    side: int = 8192
    copied: int = 256
    images: tuple[int, ...] = (1, 8, 32, 128)
    larger: tuple[int, ...] = (256, 512)
    texts: tuple[int, ...] = (1, 32, 256)
    words: tuple[int, ...] = (6, 24, 100)
    jpegs: int = 4000
    seconds: float = 1.0


SMALL = Sizes(side=64, copied=1, images=(1, 4), larger=(), texts=(1, 4), words=(3, 100), jpegs=8, seconds=0.02)
"""Enough to run every line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: so many ``unit`` of ``what``; ``share`` of the measured peak of matrix products, where that is known."""

    what: str
    value: float
    unit: str
    share: float | None = None


class Bench:
    """Measures one model on one device."""

    def __init__(self, spec: str, device: str, sizes: Sizes) -> None:
        self.device, self.sizes = device, sizes
        loaded = load_model(spec, device=device, runtime="torch")
        if not isinstance(loaded, TorchClip):
            raise TypeError(f"{type(loaded).__name__} is not PyTorch's")
        self.clip = loaded
        self.model_cfg = resolve(parse_spec(spec)).model_cfg
        self.rows: list[Row] = []
        self.peak = 0.0
        size, most = loaded.info.preprocessing.size, max(*sizes.images, *sizes.larger)
        self.pixels = np.random.default_rng(0).integers(0, 256, (most, size, size, 3), dtype=np.uint8)

    def add(self, what: str, value: float, unit: str, flops: float | None = None) -> float:
        """Keep and print a figure; ``flops`` are what each of its units takes."""
        share = value * flops / self.peak if flops and self.peak else None
        self.rows.append(Row(what, value, unit, share))
        print(f"{what:58} {value:14,.1f} {unit:9}{'' if share is None else f'  {share:6.1%} of the peak'}", flush=True)
        return value

    def rate(self, work: Callable[[], object], callers: int = 1) -> float:
        """Times a second."""
        return per_second(work, device=self.device, seconds=self.sizes.seconds, callers=callers)

    def hardware(self) -> None:
        """Matrix products in the model's numbers, and copies."""
        own = cast("Precision", self.clip.info.precision)
        for precision in dict.fromkeys((own, *(("bf16", "fp16") if self.device.startswith("cuda") else ()))):
            dtype = torch_dtype(precision)
            found = matrix_peak(self.device, dtype, side=self.sizes.side, seconds=self.sizes.seconds)
            self.add(f"matrix products of {self.sizes.side} in {precision}", found / 1e12, "TFLOP/s")
            self.peak = found if precision == own else self.peak
        for what, found in copy_rates(self.device, mib=self.sizes.copied, seconds=self.sizes.seconds).items():
            self.add(f"copies, {what}", found / 1e9, "GB/s")

    def towers(self) -> None:
        """The image tower on batches that are on the device already, kernel by kernel."""
        flops = image_flops(self.model_cfg)
        for items in (*self.sizes.images, *self.sizes.larger):
            there = torch.from_numpy(self.pixels[:items]).to(self.device)
            with torch.inference_mode():
                rate = items * self.rate(lambda there=there: self.clip.rows_of_pixels(there))  # type: ignore[misc]  # bound now
            self.add(f"pictures on the device, batch {items}", rate, "/s", flops)

    def pictures(self, graphs: str) -> None:
        """Pixels on the host to vectors on the host."""
        flops = image_flops(self.model_cfg)
        for items in self.sizes.images:
            batch = self.pixels[:items]
            for callers in (1, 2):
                rate = items * self.rate(lambda batch=batch: self.clip.embed_pixels(batch), callers)  # type: ignore[misc]  # bound now
                self.add(f"pictures, batch {items}, {graphs}, {callers} in flight", rate, "/s", flops)

    def texts(self, graphs: str) -> None:
        """Texts to vectors, tokenizing included."""
        random = np.random.default_rng(0)
        for words in self.sizes.words:
            texts = [" ".join(random.choice(WORDS, words)) for _ in range(max(self.sizes.texts))]
            length = min(int(self.clip.embed_texts(texts).tokens.max()), self.clip.info.context_length)
            for items in self.sizes.texts:
                batch = texts[:items]
                for callers in (1, 2):
                    rate = items * self.rate(lambda batch=batch: self.clip.embed_texts(batch), callers)  # type: ignore[misc]  # bound now
                    what = f"texts of {length} tokens, batch {items}, {graphs}, {callers} in flight"
                    self.add(what, rate, "/s", text_flops(self.model_cfg, length))

    async def jpegs(self, workers: int, profile: Profile) -> tuple[float, float]:
        """JPEGs a second to pixels in ``profile`` by ``workers`` processes, and to vectors through the batcher, too."""
        contents, preprocessing = photographs(PICTURES), replace(self.clip.info.preprocessing, profile=profile)
        here: list[float] = []  # cores that this process, which hands everything on, kept busy
        reader = PictureReader(ImageLimits(), workers=workers, max_queued=self.sizes.jpegs)
        encoder = LocalEncoder(self.clip, BatchLimits())
        await reader.start()

        async def decoded(number: int) -> None:
            await reader.read(contents[number % PICTURES], preprocessing, lane=Lane.BULK)

        async def embedded(number: int) -> None:
            picture = await reader.read(contents[number % PICTURES], preprocessing, lane=Lane.BULK)
            await encoder.embed_pixels(picture.pixels[None])

        async def rate(one: Callable[[int], Any]) -> float:
            left = iter(range(self.sizes.jpegs))

            async def client() -> None:
                for number in left:
                    await one(number)

            began, spent = time.perf_counter(), time.process_time()
            await asyncio.gather(*(client() for _ in range(8 * workers)))
            seconds = time.perf_counter() - began
            here.append((time.process_time() - spent) / seconds)
            return self.sizes.jpegs / seconds

        try:
            found = await rate(decoded), await rate(embedded)
        finally:
            await encoder.close()
            reader.close()
        self.add(f"JPEGs of 640 x 480 decoded, {profile}, {workers} processes", found[0], "/s")
        self.add(f"JPEGs to vectors, {profile}, {workers} processes", found[1], "/s", image_flops(self.model_cfg))
        self.add(f"this process meanwhile, {profile}", here[1], "cores")
        return found

    def device_jpegs(self) -> float | None:
        """JPEGs a second decoded by the device; None where it cannot."""
        try:
            content, batch = jpeg_ordinary(), max(self.sizes.images)
            rate = jpegs_decoded(content, self.device, batch=batch, seconds=self.sizes.seconds)
        except RuntimeError as error:
            print(f"JPEGs on the device: {' '.join(str(error).split())[:150]}")
            return None
        return self.add(f"JPEGs of 640 x 480 decoded by the device, batch {batch}, not resized", rate, "/s")


def what_binds(rates: dict[str, float]) -> str:
    """Name the slowest stage, and how far the others are above it."""
    name, least = min(rates.items(), key=lambda pair: pair[1])
    others = ", ".join(f"{other} {rate / least:.1f}x" for other, rate in rates.items() if other != name)
    return f"{name} binds at {least:,.0f} pictures/s; above it: {others}"


def run(bench: Bench, workers: int) -> str:
    """Measure everything; what binds."""
    bench.hardware()
    bench.towers()
    recorded = bool(bench.clip.recorded)
    graphs = "graphs" if recorded else "no graphs"
    bench.pictures(graphs)
    bench.texts(graphs)
    asyncio.run(bench.jpegs(workers, "standard"))
    decoded, embedded = asyncio.run(bench.jpegs(workers, "fast"))
    bench.device_jpegs()
    host = max(row.value for row in bench.rows if row.what.startswith("pictures, "))
    tower = max(row.value for row in bench.rows if row.what.startswith("pictures on "))
    copied = max(row.value for row in bench.rows if row.what.startswith("copies, ") and "to the" in row.what)
    if recorded:
        bench.clip.forget_recordings()  # last, for they cannot be had back
        bench.pictures("no graphs")
        bench.texts("no graphs")
    pixels = bench.pixels[0].nbytes
    stages = {
        "decoding": decoded,
        "the host's way to the device": host,
        "the tower": tower,
        "copying": copied * 1e9 / pixels,
    }
    return f"{what_binds(stages)}. JPEGs to vectors: {embedded:,.0f}/s, {embedded / min(stages.values()):.0%} of that."


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 2 where there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="ViT-B-32", help="of OpenCLIP, with random weights")
    parser.add_argument("--model", help="as CROSSMODAL_MODEL names it, instead of --arch")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try the code in small")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that decode")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    chosen = parser.parse_args(arguments)
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device on this machine; --device cpu tries the code in small", file=sys.stderr)
        return NO_DEVICE
    with tempfile.TemporaryDirectory() as folder:
        spec = chosen.model or random_model(Path(folder) / "source", chosen.arch)
        bench = Bench(spec, chosen.device, SMALL if chosen.device == "cpu" else Sizes())
    info = bench.clip.info
    place = torch.cuda.get_device_name(chosen.device) if chosen.device.startswith("cuda") else "the CPU, in small"
    print(f"{info.name} in {info.precision} on {place}; torch {torch.__version__}, {os.cpu_count()} cores")
    verdict = run(bench, chosen.workers)
    synchronise(chosen.device)
    print(verdict)
    rows = [{"what": row.what, "value": row.value, "unit": row.unit, "share_of_peak": row.share} for row in bench.rows]
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    kept = {"device": place, "model": chosen.model or chosen.arch, "precision": info.precision, "binds": verdict}
    chosen.out.write_text(json.dumps(kept | {"rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
