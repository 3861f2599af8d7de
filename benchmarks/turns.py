"""The ratios of `benchmarks.service` once more, in turns of seconds: `make bench-turns`.

Where other users of a machine make it half as fast from one second to the next, what was measured minutes apart cannot be
compared. Here each turn measures the baselines, and for each runtime the ceiling and right after it the service, with 32
clients and with one; the ratio of two numbers is that of one turn, and what is printed are medians of the turns with their middle
halves. The model is that of `benchmarks.service`. Writes benchmarks/results/turns.json. About 15 minutes.
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import contenders
from benchmarks.ceiling import Embedding, Way
from benchmarks.contenders import KINDS, Contender
from benchmarks.driving import Driver, Load
from benchmarks.inputs import captions, photographs
from benchmarks.reporting import RESULTS
from benchmarks.service import LOADED, PICTURES, RUNTIMES, TEXTS, Setting, load, make_models, serving
from crossmodal.clip.base import ClipModel
from tools.servers import end_as_if_interrupted

BATCH = 32
"""Of the ceiling: none was better by more than the noise in the rounds of `benchmarks.service`."""

Ratios = dict[str, dict[str, list[float]]]
"""By contender and name, a number for each turn."""


class Turns:
    """The measurements, and what is to be measured."""

    def __init__(self, driver: Driver, models: Mapping[str, ClipModel], seconds: float) -> None:
        self._driver = driver
        self._seconds = seconds
        self._pictures, self._texts = photographs(PICTURES), captions(TEXTS)
        self._embedding = {name: Embedding(model, self._pictures, self._texts) for name, model in models.items()}
        self._calls = {name: model.info.calls for name, model in models.items()}
        self.ratios: Ratios = defaultdict(lambda: defaultdict(list))

    def take(self, own: Sequence[Contender], others: Sequence[Contender]) -> None:
        """One turn of all."""
        for kind in KINDS:
            best = max(self._many(each, kind) for each in others)
            least = min(self._lone(each, kind) for each in others)
            for contender in own:
                embedding, found = self._embedding[contender.name], self.ratios[contender.name]
                ceiling = embedding.rate(kind, Way(BATCH, self._calls[contender.name]), self._seconds)
                rate = self._many(contender, kind)
                found[f"{kind}s a second"].append(rate)
                found[f"{kind}s / ceiling"].append(rate / ceiling)
                found[f"{kind}s / best baseline"].append(rate / best)
                alone = embedding.lone(kind, self._seconds / 2)
                lone = self._lone(contender, kind)
                found[f"lone {kind}, ms"].append(lone)
                found[f"lone {kind} / best baseline"].append(lone / least)
                found[f"lone {kind} / in process"].append(lone / alone)

    def _many(self, contender: Contender, kind: str) -> float:
        return self._drive(contender, kind, LOADED, self._seconds)[0]

    def _lone(self, contender: Contender, kind: str) -> float:
        return self._drive(contender, kind, 1, self._seconds / 2)[1]

    def _drive(self, contender: Contender, kind: str, clients: int, seconds: float) -> tuple[float, float]:
        """Answers a second, and the median's milliseconds; a fifth of ``seconds`` goes before."""
        requests = contender.requests(kind, self._pictures, self._texts)
        with contender.awake():
            self._driver.drive(contender, requests, Load(seconds / 5, clients=clients))
            figures = self._driver.drive(contender, requests, Load(seconds, clients=clients))
        return figures.rate, figures.p50


def table(ratios: Ratios) -> list[str]:
    """Lines of Markdown: medians, and the middle half of the turns."""
    names = [*next(iter(ratios.values()))]
    lines = [f"| | {' | '.join(ratios)} |", "|---" * (1 + len(ratios)) + "|"]
    for name in names:
        cells = []
        for found in ratios.values():
            low, _, high = statistics.quantiles(found[name], method="inclusive")
            cells.append(f"{statistics.median(found[name]):.3g} ({low:.3g} to {high:.3g})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder as local-dir: takes it")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a stretch of load")
    arguments = parser.parse_args()
    if arguments.turns < 2:
        parser.error("medians with their middle halves take two turns at least")
    end_as_if_interrupted()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        driver = stack.enter_context(Driver())
        models = make_models(folder, arguments.model)
        turns = Turns(driver, {runtime: load(models, runtime) for runtime in RUNTIMES}, arguments.seconds)
        own, others = stack.enter_context(serving(folder, models, [*map(Setting, RUNTIMES)]))
        for number in range(arguments.turns):
            turns.take(own, others)
            print(f"turn {number + 1} of {arguments.turns} done", flush=True)
    print("\n".join(table(turns.ratios)))
    result = {"machine": contenders.machine(), "turns": arguments.turns, "ratios": turns.ratios}
    (RESULTS / "turns.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
