"""HAProxy before the encoders: its configuration, its process, and the socket by which servers come and go.

A slot is a server of the configuration that has no address until an encoder takes it. What an encoder is asked is a pure
function of the request, so a request may be sent again to another one: where no connection comes about, where one ends without an
answer, and where the answer is 503.
"""

import csv
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from crossmodal.encoder.wire import PATH

BACKEND = "encoders"
CHECK_MILLISECONDS = 500
CHECKS_FAILED = 2
CHECK_TIMEOUT = 4
CONNECT_MILLISECONDS = 250
"""To connect, and the pause before another attempt: HAProxy takes the shorter of this and a second."""
RETRIES = 2
ANSWER_SECONDS = 70
"""More than the encoder's own limit of time, which answers in the contract's words."""
KEEP_SECONDS = 75
"""More than the API keeps a connection: who closes first risks that a request is just being sent."""
BUFFER_BYTES = 192 * 1024
"""A request is sent again only if it fits: one picture of 224 by 224 (150,612 bytes) does, a call of two does not."""
START_SECONDS = 10
STOP_SECONDS = 5


class Refused(Exception):
    """HAProxy is not there, did not start, or did not do what it was told; says what it said."""


def configuration(*, port: int, control: Path, slots: list[str], again: bool = True) -> str:
    """The file: listens on ``port`` of 127.0.0.1, is told what to do through the socket ``control``; ``again``: see above."""
    told = "conn-failure empty-response 503" if again else "none"
    servers = "\n".join(f"    server {slot} 127.0.0.1:1 disabled" for slot in slots)
    return f"""\
# Written by loadtests.autoscaling.haproxy.
global
    stats socket {control} mode 600 level admin
    log stdout format raw daemon notice
    nbthread 1
    maxconn 1024
    tune.bufsize {BUFFER_BYTES}

defaults
    log global
    mode http
    timeout connect {CONNECT_MILLISECONDS}ms
    timeout queue 5s
    timeout client {ANSWER_SECONDS}s
    timeout server {ANSWER_SECONDS}s
    timeout http-keep-alive {KEEP_SECONDS}s
    timeout check {CHECK_TIMEOUT}s

frontend api
    bind 127.0.0.1:{port}
    default_backend {BACKEND}

backend {BACKEND}
    balance leastconn
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host encoder
    http-check expect status 200
    retries {RETRIES if again else 0}
    # What is forwarded before all of it has come cannot be sent again.
    option http-buffer-request
    retry-on {told}
    {"option redispatch 1" if again else "no option redispatch"}
    http-request disable-l7-retry unless {{ path_beg {PATH}/ }}
    # One that refuses connections is left at once, not after two checks: with the fewest connections of all it would get all.
    default-server check inter {CHECK_MILLISECONDS}ms fall {CHECKS_FAILED} rise 1 observe layer4 error-limit 1 on-error mark-down
{servers}
"""


def executable() -> str:
    """Where HAProxy is. Raises ``Refused``."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if found is None:
        raise Refused("there is no haproxy; on Debian: sudo apt-get install haproxy")
    return found


def check(file: Path) -> None:
    """Raises ``Refused`` where HAProxy finds fault with the configuration in ``file``, warnings included."""
    ended = subprocess.run(
        [executable(), "-c", "-dW", "-f", str(file)], capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    if ended.returncode:
        raise Refused(ended.stderr)


class Balancer:
    """HAProxy on ``port``, with ``slots`` for encoders; its files in ``folder``. ``stop`` it after use."""

    def __init__(self, folder: Path, port: int, *, slots: int, again: bool = True) -> None:
        """Raises ``Refused``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{port}"
        self.slots = [f"encoder-{number}" for number in range(1, slots + 1)]
        self._control = folder / "control"
        file, log = folder / "haproxy.cfg", folder / "haproxy.log"
        file.write_text(configuration(port=port, control=self._control, slots=self.slots, again=again))
        check(file)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [executable(), "-db", "-f", str(file)], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._await(log)

    def _await(self, log: Path) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                self.tell("show info")
            except (OSError, Refused):
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise Refused(log.read_text(encoding="utf-8", errors="replace"))

    def tell(self, command: str) -> str:
        """What HAProxy answers to ``command``. Raises ``OSError``."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(START_SECONDS)
            control.connect(str(self._control))
            control.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: control.recv(65536), b"")).decode()

    def _set(self, slot: str, what: str) -> None:
        if said := self.tell(f"set server {BACKEND}/{slot} {what}").strip():
            raise Refused(f"{slot} {what}: {said}")

    def add(self, slot: str, port: int) -> None:
        """Send requests to the encoder on ``port``, which is ready, too."""
        said = self.tell(f"set server {BACKEND}/{slot} addr 127.0.0.1 port {port}")
        if str(port) not in said and "no need" not in said:
            raise Refused(f"{slot} port {port}: {said}")
        self._set(slot, "state ready")

    def drain(self, slot: str) -> None:
        """Send no new requests there; those under way go on."""
        self._set(slot, "state drain")

    def remove(self, slot: str) -> None:
        """Free the slot."""
        self._set(slot, "state maint")

    def stats(self) -> Iterator[dict[str, str]]:
        """What HAProxy counted: a row for each slot, by the names of its statistics."""
        for row in csv.DictReader(self.tell("show stat").removeprefix("# ").splitlines()):
            if row["pxname"] == BACKEND and row["svname"] in self.slots:
                yield row

    def in_flight(self, slot: str) -> int:
        """Requests that the encoder in ``slot`` has and has not answered."""
        return next(int(row["scur"]) for row in self.stats() if row["svname"] == slot)

    def sent_again(self) -> tuple[int, int]:
        """How often a request was tried again at the same encoder, and at another, so far."""
        rows = list(self.stats())
        return sum(int(row["wretr"]) for row in rows), sum(int(row["wredis"]) for row in rows)

    def stop(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
