"""What the running service makes of a GPU, over HTTP: `python -m benchmarks.gpu_service [--arch ViT-B-32]`.

For a machine with one and many cores, which the sender shares. The model has random weights, which cost as much as trained
ones. Pictures are JPEGs of 640 x 480, many to a request, as whoever fills an index sends them; then lone requests, and texts. Each
line says how many cores each role kept busy, so that what binds can be seen. Several API processes need a Qdrant server, which
embedding asks nothing but whether it is there: the tests' stand-in of one is enough. Prints a table and writes JSON.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.driving import Driver, Figures, Load
from benchmarks.inputs import captions, photographs, random_model
from tests.faults.qdrant import QdrantProcess
from tools.load import multipart_of, request_bytes
from tools.servers import ROOT, end_as_if_interrupted

PICTURES, TEXTS = 64, 512


@dataclass(frozen=True, slots=True)
class Shape:
    """How the service is cut: so many API processes, each with so many decoders; encoders in processes of their own or not."""

    apis: int
    decoders: int
    encoders: int = 1
    profile: str = "fast"

    @property
    def name(self) -> str:
        """As the table shows it."""
        apart = "an encoder" if self.encoders == 1 else f"{self.encoders} encoders"
        place = f"{self.apis} API processes and {apart}" if self.apis > 1 else "one process"
        return f"{place}, {self.apis} x {self.decoders} decoders, {self.profile}"

    def settings(self) -> dict[str, str]:
        """What CROSSMODAL_ has to say."""
        apart = {"ENCODER": "service", "API_WORKERS": str(self.apis), "ENCODER_WORKERS": str(self.encoders)}
        place = apart if self.apis > 1 else {"ENCODER": "local"}
        return place | {"DECODE_WORKERS": str(self.decoders), "PREPROCESSING": self.profile}


def shapes(cores: int) -> list[Shape]:
    """What is worth a try on so many cores: decoders want most of them, and one process of Python hands on only so much."""
    found = [Shape(1, max(1, cores - 2))]
    found += [Shape(apis, max(1, (cores - 2) // apis)) for apis in (2, 4, 6) if apis * 2 < cores]
    return found


@contextmanager
def serving(shape: Shape, folder: Path, **settings: str) -> Iterator[Contender]:
    """The service in this shape, ready."""
    with ExitStack() as stack:
        if shape.apis > 1:
            store = QdrantProcess()
            stack.callback(store.stop)
            settings["STORE"] = store.url
        contender = contenders.ours(shape.name, folder, **shape.settings(), **settings)
        stack.callback(contender.server.stop)
        contender.server.wait_until_ready()
        yield contender


def bulk(pictures: Sequence[bytes], items: int) -> list[bytes]:
    """Requests of ``items`` pictures each, every picture at another place in each."""
    made = []
    for start in range(0, len(pictures), max(1, items // 2)):
        chosen = [pictures[(start + place) % len(pictures)] for place in range(items)]
        made.append(request_bytes("POST", "/embed/images", *multipart_of(chosen, "files")))
    return made


def measure(
    contender: Contender, driver: Driver, *, seconds: float, items: int, clients: Sequence[int]
) -> dict[str, Any]:
    """Rates of pictures in bulk by so many ``clients`` at a time, of lone pictures and texts, and of texts by many clients."""
    pictures, texts = photographs(PICTURES), captions(TEXTS)
    image, text = (contender.requests(kind, pictures, texts) for kind in contenders.KINDS)
    many = bulk(pictures, items)
    loads = {f"pictures, {items} a request, {count} clients": (many, count, items) for count in clients} | {
        "pictures, one a request, 128 clients": (image, 128, 1),
        "a lone picture": (image, 1, 1),
        "texts, one a request, 128 clients": (text, 128, 1),
        "a lone text": (text, 1, 1),
    }
    found = {}
    for what, (requests, count, each) in loads.items():
        driver.drive(contender, requests, Load(min(1.0, seconds), clients=count))  # batches find their size
        figures = driver.drive(contender, requests, Load(seconds, clients=count))
        found[what] = figures.as_json() | {"clients": count, "items_a_second": figures.rate * each}
        print(_line(what, figures, each), flush=True)
    return found


def _line(what: str, figures: Figures, each: int) -> str:
    cores = ", ".join(f"{role} {busy:.1f}" for role, busy in figures.cores.items())
    failed = f"  {figures.failed} NOT ANSWERED WITH 200" if figures.failed else ""
    return (
        f"  {what:38} {figures.rate * each:9,.0f}/s  p50 {figures.p50:7.1f} ms"
        f"  p99 {figures.p99:7.1f} ms  cores: {cores}{failed}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="ViT-B-32", help="of OpenCLIP, with random weights")
    parser.add_argument("--model", help="as CROSSMODAL_MODEL names it, instead of --arch")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try the code")
    parser.add_argument(
        "--shape",
        nargs=3,
        type=int,
        action="append",
        metavar=("APIS", "DECODERS", "ENCODERS"),
        help="as often as wanted",
    )
    parser.add_argument("--profile", default="fast", help="of preprocessing, for --shape")
    parser.add_argument("--items", type=int, default=16, help="pictures in a request")
    parser.add_argument("--clients", type=int, nargs="+", default=[32, 128], help="that send those")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each stretch of load")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu_service.json")
    chosen = parser.parse_args(arguments)
    end_as_if_interrupted()
    given = [Shape(apis, decoders, encoders, chosen.profile) for apis, decoders, encoders in chosen.shape or ()]
    kept: dict[str, Any] = {"machine": contenders.machine(), "device": chosen.device, "shapes": {}}
    with tempfile.TemporaryDirectory() as name, Driver() as driver:
        folder = Path(name)
        spec = chosen.model or random_model(folder / "source", chosen.arch)
        for number, shape in enumerate(given or shapes(os.cpu_count() or 1)):
            with serving(shape, folder / str(number), MODEL=spec, DEVICE=chosen.device) as contender:
                print(shape.name, flush=True)
                kept["shapes"][shape.name] = measure(
                    contender, driver, seconds=chosen.seconds, items=chosen.items, clients=chosen.clients
                ) | {"memory": contender.memory()}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
