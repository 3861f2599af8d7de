"""Encoders behind the balancer: as many as are wanted, started and ended as a Deployment of Kubernetes would.

New ones get requests when they are ready. Those that go get no more, finish what they have, and are ended by SIGTERM. One that died
is replaced. A rolling update replaces each in turn: a new one first (maxSurge 1), then the old one goes (maxUnavailable 0).
"""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

import psutil

from loadtests.autoscaling.haproxy import ANSWER_SECONDS, Balancer, Refused
from tools.servers import START_SECONDS, STOP_SECONDS, Server

SURGE = 1
POLL_SECONDS = 0.1


class State(StrEnum):
    """Where an encoder is in its life."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    GONE = "gone"


class Replica(Server):
    """An encoder with its own threads and folder, in a slot of the balancer's."""

    def __init__(self, folder: Path, slot: str, **settings: str) -> None:
        super().__init__(folder, "service:Encoder", STORE="memory:", **settings)
        self.slot = slot
        self.name = folder.name
        self.state = State.STARTING

    def wait_until_ready(self) -> None:
        """As ``Server`` does, and cheaper: while the model loads the port is not open. Raises ``RuntimeError``."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None and not self._listens():
            time.sleep(POLL_SECONDS)
        super().wait_until_ready()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """SIGKILL to the whole server at once, as when its machine is gone."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for each in family:
            each.kill()
        psutil.wait_procs(family, timeout=STOP_SECONDS)
        self.process.wait(STOP_SECONDS)


class Pool:
    """Encoders that come and go; ``close`` ends them all. Safe to use from several threads."""

    def __init__(self, folder: Path, balancer: Balancer, note: Callable[[str], None], **settings: str) -> None:
        """``note`` is told what happens; ``settings`` are those of each encoder."""
        self._folder = folder
        self._balancer = balancer
        self._note = note
        self._settings = settings
        self._lock = threading.RLock()
        self._threads = ThreadPoolExecutor(2 * len(balancer.slots), thread_name_prefix="pool")
        self._replicas: list[Replica] = []
        self._started = 0
        self._surge = 0
        self._closed = False
        self.wanted = 0
        self.faults: list[str] = []
        """What should not have happened: an encoder that did not get ready, or did not end with status 0."""

    def count(self, *states: State) -> int:
        """Encoders in one of ``states``."""
        return len(self.replicas(*states))

    def replicas(self, *states: State) -> list[Replica]:
        """Encoders in one of ``states``, the oldest first."""
        with self._lock:
            return [each for each in self._replicas if each.state in states]

    def scale_to(self, wanted: int) -> None:
        """Have ``wanted`` encoders; those that start do so in the background."""
        with self._lock:
            self.wanted = wanted
            self.reconcile()

    def reconcile(self) -> None:
        """Replace what died, start what is missing, and let go what is too much: the youngest first, as Kubernetes does."""
        with self._lock:
            for dead in [each for each in self.replicas(State.READY) if each.process.poll() is not None]:
                self._note(f"{dead.name} is gone (status {dead.process.returncode})")
                self._forget(dead)
            present = self.replicas(State.STARTING, State.READY)
            for _ in range(self.wanted + self._surge - len(present)):
                self._start()
            ready_first = sorted(present, key=lambda each: each.state is State.STARTING)
            for each in ready_first[self.wanted + self._surge :]:
                self._let_go(each)

    def rolling_update(self) -> Future[None]:
        """Replace every encoder that is there now, one by one, in the background."""
        return self._threads.submit(self._update)

    def close(self) -> None:
        """End them all."""
        with self._lock:
            self._closed = True
            self.wanted = 0
            for each in self.replicas(State.STARTING, State.READY):
                self._let_go(each)
        self._threads.shutdown()
        for each in self._replicas:
            each.stop()

    def _start(self) -> tuple[Replica, Future[None]]:
        taken = {each.slot for each in self._replicas if each.state is not State.GONE}
        slot = next(slot for slot in self._balancer.slots if slot not in taken)
        self._started += 1
        replica = Replica(self._folder / f"encoder-{self._started}", slot, **self._settings)
        self._replicas.append(replica)
        self._note(f"{replica.name} is started")
        return replica, self._threads.submit(self._bring_up, replica)

    def _bring_up(self, replica: Replica) -> None:
        began = time.monotonic()
        try:
            replica.wait_until_ready()
        except RuntimeError as error:
            if replica.state is State.STARTING:
                self._fault(f"{replica.name} did not get ready: {error}")
                self._forget(replica)
            return
        with self._lock:
            if replica.state is not State.STARTING:
                return
            self._balancer.add(replica.slot, replica.port)
            replica.state = State.READY
        self._note(f"{replica.name} is ready after {time.monotonic() - began:.1f} s, and in the pool")

    def _let_go(self, replica: Replica) -> Future[None]:
        was_ready = replica.state is State.READY
        replica.state = State.LEAVING
        return self._threads.submit(self._end, replica, drained=was_ready)

    def _end(self, replica: Replica, *, drained: bool) -> None:
        began = time.monotonic()
        if drained:
            self._balancer.drain(replica.slot)
            while self._balancer.in_flight(replica.slot) and time.monotonic() - began < ANSWER_SECONDS:
                time.sleep(POLL_SECONDS)
            self._balancer.remove(replica.slot)
        after = time.monotonic() - began
        replica.process.send_signal(signal.SIGTERM)  # to the parent alone, as a container gets it
        try:
            status = replica.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._fault(f"{replica.name} had not ended {STOP_SECONDS} s after SIGTERM")
            replica.stop()
        else:
            words = f"drained in {after:.1f} s, " if drained else "not ready yet, "
            self._note(f"{replica.name} goes: {words}ended with status {status} in {time.monotonic() - began:.1f} s")
            # Before the service's first line nobody handles SIGTERM, and nothing has begun.
            if status and (drained or status != -signal.SIGTERM):
                self._fault(f"{replica.name} ended with status {status}")
        replica.state = State.GONE

    def _update(self) -> None:
        old = self.replicas(State.STARTING, State.READY)
        self._note(f"rolling update of {len(old)}")
        for each in old:
            with self._lock:
                if self._closed or each.state not in {State.STARTING, State.READY}:
                    continue  # it died or was let go meanwhile, and its successor is new
                self._surge = SURGE
                new, started = self._start()
            started.result()
            with self._lock:
                self._surge = 0
                if new.state is State.READY and each.state in {State.STARTING, State.READY}:
                    gone = self._let_go(each)
                else:
                    self.reconcile()
                    continue
            gone.result()
        self._note("rolling update is done")

    def _forget(self, replica: Replica) -> None:
        """Of one that is dead."""
        replica.state = State.GONE
        try:
            self._balancer.remove(replica.slot)
        except (OSError, Refused) as error:
            self._fault(f"{replica.slot} could not be freed: {error}")

    def _fault(self, what: str) -> None:
        self._note(what)
        self.faults.append(what)
