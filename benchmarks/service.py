"""The running service against its own ceiling and against what a user would pick instead, in one run: `make bench`.

ViT-B-32 with random weights, unless --model names another folder of weights; loopback; one process that sends. In every
round each of these is measured in turn, so that a busy neighbour hits all alike, and medians of the rounds are compared:

- the ceiling: decoding and embedding in this process at the best batch, and alone, no HTTP, right before the service whose it is;
- the service with 1, 8, 32 and 128 clients that each wait for their answer, a lone request right after that, and arrivals at
  random times at 70 % of the rate that the service reached, in several of its settings;
- the baselines of benchmarks/baselines.

Whoever is not measured is stopped meanwhile. Prints tables and ratios after
each round; writes benchmarks/results/service.json and service.png. About 13 minutes a round, or 7 with --seconds 1.5,
which is too short for many clients of pictures.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contenders, reporting
from benchmarks.ceiling import Ceiling, Measured, best, ceilings
from benchmarks.contenders import KINDS, Contender
from benchmarks.driving import Driver, Figures, Load, medians
from benchmarks.inputs import captions, photographs, random_model
from crossmodal import imaging
from crossmodal.clip.base import ClipModel
from crossmodal.clip.exporting import export_model
from crossmodal.clip.quality import Quantizing, Samples
from crossmodal.records import Preprocessing
from crossmodal.settings import Settings
from crossmodal.startup import build_model
from tools.servers import end_as_if_interrupted

CLIENTS = (1, 8, 32, 128)
BASELINE_CLIENTS = (1, 32)
LOADED = 32
"""The number of clients whose rates are compared."""
OF_THE_KNEE = 0.7
OPEN_FACTOR = 7
"""Arrivals at random times are measured so many times as long: the 99th percentile needs them."""
CROWD_FACTOR = 2
"""And many clients, of whose requests a batch is a large part."""
PICTURES, TEXTS = 64, 512
CALIBRATING = 64
"""Pictures, and texts, for int8; as many again judge it."""

Rates = dict[str, dict[str, dict[str, Figures]]]
"""By contender, kind and load."""


@dataclass(frozen=True)
class Setting:
    """One way to run our service: ``runtime`` names the ceiling it is held to."""

    runtime: str
    apart: bool = False

    @property
    def name(self) -> str:
        """As the tables show it."""
        return f"{self.runtime}, encoder apart" if self.apart else self.runtime


RUNTIMES: dict[str, dict[str, str]] = {
    "OpenVINO bf16": {"RUNTIME": "openvino"},
    "OpenVINO bf16, fast": {"RUNTIME": "openvino", "PREPROCESSING": "fast"},
    "OpenVINO int8, fast": {"RUNTIME": "openvino", "PREPROCESSING": "fast", "PRECISION": "int8"},
    "PyTorch bf16": {"RUNTIME": "torch"},
}
"""By name, what CROSSMODAL_ has to say; "fast" is the profile of preprocessing."""
SETTINGS = (*map(Setting, RUNTIMES), Setting("OpenVINO bf16", apart=True), Setting("PyTorch bf16", apart=True))


@dataclass(frozen=True)
class Models:
    """Folders of one model: its weights, and what was exported of them."""

    source: Path
    export: Path

    def spec(self, runtime: str) -> str:
        """What CROSSMODAL_MODEL has to say."""
        return f"local-dir:{self.source if runtime.startswith('PyTorch') else self.export}"


def make_models(folder: Path, weights: Path | None) -> Models:
    """Export the model, in int8 too, calibrated on pictures and texts like those that are measured."""
    source = weights or Path(random_model(folder / "source").removeprefix("local-dir:"))

    def samples(preprocessing: Preprocessing) -> Samples:
        made = [imaging.prepare(content, preprocessing).pixels for content in photographs(2 * CALIBRATING)]
        return Samples(np.stack(made), [""] * len(made), captions(2 * CALIBRATING))

    quantizing = Quantizing(samples, CALIBRATING, accept=True)
    export = export_model(f"local-dir:{source}", out=folder / "export", exports=folder, quantizing=quantizing)
    return Models(source, export)


@contextmanager
def serving(
    folder: Path, models: Models, settings: Sequence[Setting] = SETTINGS
) -> Iterator[tuple[list[Contender], list[Contender]]]:
    """Our service in its ``settings``, and the baselines; all ready."""
    with ExitStack() as stack:

        def up(contender: Contender) -> Contender:
            stack.callback(contender.stop)
            contender.server.wait_until_ready()
            contender.pause()
            return contender

        own: list[Contender] = []
        for number, setting in enumerate(settings):
            said = RUNTIMES[setting.runtime] | {"MODEL": models.spec(setting.runtime)}
            place = "service" if setting.apart else "local"
            own.append(up(contenders.ours(setting.name, folder / f"ours-{number}", ENCODER=place, **said)))
        others = [
            up(contenders.one_at_a_time(folder / "fastapi", models.source)),
            up(contenders.batchable(folder / "bentoml", models.source)),
        ]
        yield own, others


class Run:
    """The measurements of one run."""

    def __init__(self, driver: Driver, seconds: float) -> None:
        self._driver = driver
        self._seconds = seconds
        self._pictures, self._texts = photographs(PICTURES), captions(TEXTS)
        self._rounds: dict[tuple[str, str, str], list[Figures]] = defaultdict(list)
        self._ceilings: dict[str, list[dict[str, Measured]]] = defaultdict(list)
        self.memory: dict[str, dict[str, float]] = {}

    def ceiling(self, name: str, model: ClipModel) -> None:
        """Measure a round of it."""
        self._ceilings[name].append(ceilings(model, self._pictures, self._texts, self._seconds))

    def closed(self, contender: Contender, clients: tuple[int, ...]) -> None:
        """A round of clients that wait for their answers; after the last and most of them, a lone one."""
        with contender.awake():
            self._closed(contender, clients)
            self.memory[contender.name] = contender.memory()

    def _closed(self, contender: Contender, clients: tuple[int, ...]) -> None:
        for kind in KINDS:
            requests = contender.requests(kind, self._pictures, self._texts)
            for label, count in [*((str(each), each) for each in clients), ("after a burst", 1)]:
                seconds = self._seconds * (CROWD_FACTOR if count >= LOADED else 1)
                figures = self._driver.drive(contender, requests, Load(seconds, clients=count))
                self._rounds[contender.name, kind, label].append(figures)

    def opened(self, contender: Contender, number: int) -> None:
        """A round of arrivals at random, at a share of what the rounds so far reached."""
        for kind in KINDS:
            requests = contender.requests(kind, self._pictures, self._texts)
            rate = OF_THE_KNEE * self.knee(contender.name, kind)
            load = Load(OPEN_FACTOR * self._seconds, rate=rate, seed=number)
            with contender.awake():
                self._rounds[contender.name, kind, "open"].append(self._driver.drive(contender, requests, load))

    def knee(self, name: str, kind: str) -> float:
        """The highest rate at any number of clients."""
        return max(medians(self._rounds[name, kind, str(count)]).rate for count in CLIENTS)

    def summary(self, models: Mapping[str, ClipModel], baselines: Sequence[str]) -> dict[str, Any]:
        """All there is so far."""
        return {
            "machine": contenders.machine(),
            "rounds": len(self._ceilings[next(iter(models))]),
            "precision": {runtime: model.info.precision for runtime, model in models.items()},
            "ceilings": self.best_ceilings(),
            "rates": self.rates(),
            "memory": self.memory,
            "baselines": baselines,
        }

    def rates(self) -> Rates:
        """The medians of all rounds."""
        found: Rates = defaultdict(lambda: defaultdict(dict))
        for (name, kind, label), rounds in self._rounds.items():
            found[name][kind][label] = medians(rounds)
        return found

    def best_ceilings(self) -> dict[str, dict[str, Ceiling]]:
        """By runtime and kind, over all rounds."""
        return {name: best(rounds) for name, rounds in self._ceilings.items()}


def load(models: Models, runtime: str) -> ClipModel:
    """The model in this process, as a server of that setting has it."""
    settings = {name.lower(): value for name, value in RUNTIMES[runtime].items()}
    return build_model(Settings.model_validate({"model": models.spec(runtime), "device": "cpu", **settings}))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder as local-dir: takes it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a stretch of load")
    arguments = parser.parse_args()
    end_as_if_interrupted()
    with tempfile.TemporaryDirectory() as name, Driver() as driver:
        folder = Path(name)
        models = make_models(folder, arguments.model)
        loaded: dict[str, ClipModel] = {runtime: load(models, runtime) for runtime in RUNTIMES}
        with serving(folder, models) as (own, others):
            run = Run(driver, arguments.seconds)
            for number in range(arguments.rounds):
                for contender, setting in zip(own, SETTINGS, strict=True):
                    if not setting.apart:
                        run.ceiling(setting.runtime, loaded[setting.runtime])
                    run.closed(contender, CLIENTS)
                for contender in others:
                    run.closed(contender, BASELINE_CLIENTS)
                for contender, setting in zip(own, SETTINGS, strict=True):
                    if not setting.apart:
                        run.opened(contender, number)
                reporting.report(run.summary(loaded, [contender.name for contender in others]), loaded=str(LOADED))
                print(f"round {number + 1} of {arguments.rounds} done", flush=True)


if __name__ == "__main__":
    main()
