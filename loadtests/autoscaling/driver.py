"""One run: API, balancer and encoders as real processes, load on the API, and the rule applied to what the encoders show."""

import asyncio
import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

import uvloop

from loadtests.autoscaling.haproxy import Balancer
from loadtests.autoscaling.manifest import Rule
from loadtests.autoscaling.metrics import Scraped, counter
from loadtests.autoscaling.phases import Deed, Phase, arrivals, starts
from loadtests.autoscaling.pool import Pool, Replica, State
from loadtests.autoscaling.rule import Autoscaler
from loadtests.open_arrivals import Arrivals, drive
from loadtests.targets import prepare
from tools.servers import Server, free_port

SCRAPE_SECONDS = 5.0
LOOK_SECONDS = 0.25
BUSY_SECONDS = 3.0
ENCODER_THREADS = "1"
"""Of an encoder's model: replicas then do not wait for each other's threads."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is: the rule as it is applied, requests a second where the factor is 1, phases, and the rest."""

    rule: Rule
    phases: Sequence[Phase]
    rate: float
    seed: int = 0
    connections: int = 64
    again: bool = True
    """Whether the balancer sends requests again."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a decision saw and did: seconds of the run, the metric (None: no answer yet), and encoders by what they are."""

    second: float
    load: float | None
    desired: int
    ready: int
    starting: int
    leaving: int


@dataclass
class Course:
    """What came of a run. ``again``: how often the balancer tried again at the same encoder, and at another."""

    setting: Setting
    moments: list[Moment] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    arrivals: Arrivals = field(default_factory=Arrivals)
    again: tuple[int, int] = (0, 0)


class _Log:
    """Lines with the second of the run before them, printed and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def begin(self) -> None:
        self._began = time.monotonic()

    @property
    def second(self) -> float:
        return time.monotonic() - self._began

    def __call__(self, what: str) -> None:
        with self._lock:
            line = f"{self.second:7.1f} s  {what}"
            self.lines.append(line)
            print(line, flush=True)


class _Load(threading.Thread):
    """Sends what is due in an event loop of its own."""

    def __init__(self, url: str, setting: Setting) -> None:
        super().__init__(name="load", daemon=True)
        self._url = url
        self._setting = setting
        self._due = arrivals(setting.phases, rate=setting.rate, seed=setting.seed)
        self.found = Arrivals()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self.found = runner.run(drive(self._url, self._due, connections=self._setting.connections))


class _Watch:
    """Scrapes encoders, as Prometheus would. An encoder that does not answer is left out."""

    def __init__(self, rule: Rule) -> None:
        self._query = rule.query
        self._scraped = Scraped(rule.query.window)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="scrape")

    def load(self, replicas: Sequence[Replica]) -> float | None:
        """What the query answers now."""
        for name, found in self._threads.map(self._scrape, replicas):
            if found is not None:
                self._scraped.add(name, *found)
        return self._scraped.rate(time.monotonic())

    def _scrape(self, replica: Replica) -> tuple[str, tuple[float, float] | None]:
        connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=SCRAPE_SECONDS)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            shown = answer.read().decode()
            if answer.status != HTTPStatus.OK:  # Prometheus leaves such a sample out as well
                return replica.name, None
            return replica.name, (time.monotonic(), counter(shown, self._query))
        except (OSError, http.client.HTTPException):
            return replica.name, None
        finally:
            connection.close()


@contextmanager
def _started(folder: Path, setting: Setting, note: _Log) -> Iterator[tuple[Server, Balancer, Pool]]:
    """Balancer, encoders and API, ready; ended afterwards."""
    with ExitStack() as stack:
        slots = 2 * setting.rule.most + 1
        balancer = Balancer(folder / "balancer", free_port(), slots=slots, again=setting.again)
        stack.callback(balancer.stop)
        pool = Pool(folder / "encoders", balancer, note, MODEL_THREADS=ENCODER_THREADS)
        stack.callback(pool.close)
        pool.scale_to(setting.rule.least)
        # It remembers nothing, since the same texts and pictures are asked again and again.
        api = Server(folder / "api", ENCODER="service", ENCODER_URL=balancer.url, CACHE_BYTES="0")
        stack.callback(api.stop)
        api.wait_until_ready()
        prepare(api.url)
        yield api, balancer, pool


def run(setting: Setting, folder: Path) -> Course:
    """Run it, with everything it writes in ``folder``. Raises ``Refused`` or ``RuntimeError`` where it cannot begin."""
    note = _Log()
    course = Course(setting)
    with _started(folder, setting, note) as (api, balancer, pool):
        load = _Load(api.url, setting)
        note.begin()
        load.start()
        _steer(pool, balancer, course, note)
        load.join()
        course.arrivals = load.found
        course.again = balancer.sent_again()
    note("the end")
    course.faults = pool.faults
    course.lines = note.lines
    return course


def _steer(pool: Pool, balancer: Balancer, course: Course, note: _Log) -> None:
    """Decide and do until the last phase is over, and an update that it began, too."""
    setting = course.setting
    autoscaler, watch = Autoscaler(setting.rule), _Watch(setting.rule)
    edges = list(zip(starts(setting.phases), setting.phases, strict=False))
    decide, updates = 0.0, []
    for (_, phase), (end, _) in pairwise([*edges, (starts(setting.phases)[-1], setting.phases[-1])]):
        note(f"phase {phase}: {setting.rate * phase.factor:.1f} requests a second")
        if phase.deed is Deed.UPDATE:
            updates.append(pool.rolling_update())
        elif phase.deed is Deed.KILL:
            _kill(pool, balancer, note)
        while note.second < end:
            if note.second >= decide:
                decide = note.second + setting.rule.every
                course.moments.append(_decide(autoscaler, watch, pool, note))
            pool.reconcile()
            time.sleep(LOOK_SECONDS)
    for update in updates:
        if not update.done():
            note("the load is over, and the update is not: give it a longer phase")
        update.result()


def _decide(autoscaler: Autoscaler, watch: _Watch, pool: Pool, note: _Log) -> Moment:
    load = watch.load(pool.replicas(State.READY, State.LEAVING))
    before = pool.wanted
    if load is not None:
        wanted = autoscaler.decide(note.second, load, before)
        if wanted != before:
            note(
                f"{load:.1f} items in flight, {autoscaler.rule.target:g} are wanted in each: from {before} to {wanted}"
            )
            pool.scale_to(wanted)
    counts = (pool.count(State.READY), pool.count(State.STARTING), pool.count(State.LEAVING))
    return Moment(note.second, load, pool.wanted, *counts)


def _kill(pool: Pool, balancer: Balancer, note: _Log) -> None:
    """SIGKILL to an encoder that has requests, if there is one soon, and never to the only one."""
    ready = pool.replicas(State.READY)
    if len(ready) == 1:
        note("nobody is killed: there is no other encoder")
        return
    until = time.monotonic() + BUSY_SECONDS
    while True:
        victim = max(ready, key=lambda each: balancer.in_flight(each.slot))
        had = balancer.in_flight(victim.slot)
        if had or time.monotonic() > until:
            break
    victim.kill()
    note(f"{victim.name} is killed (SIGKILL) with {had} requests in flight")
