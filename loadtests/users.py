"""Users for locust: importing this patches the standard library for gevent, so only locust's own processes do."""

from collections.abc import Callable

from locust import FastHttpUser, TaskSet

from loadtests.targets import local_target
from loadtests.traffic import MIXES, Kind, Mix, Traffic

HANG_SECONDS = 65.0
"""Without an answer for so long a request counts as failed: the service itself ends each after CROSSMODAL_TIMEOUT, 60 s."""


class Visitor(FastHttpUser):
    """Sends the next request as soon as it has the answer to the last, so that users are requests in flight."""

    abstract = True
    network_timeout = HANG_SECONDS
    connection_timeout = HANG_SECONDS
    traffic: Traffic
    """What they ask, of all of them; set before the first comes."""

    def __init__(self, environment: object) -> None:
        """Raises ``ValueError`` where the host is not of this machine."""
        local_target(self.host or "")
        super().__init__(environment)


def _asks(kind: Kind) -> Callable[[Visitor], None]:
    """A task that sends one request of a kind and judges the answer."""

    def ask(user: Visitor) -> None:
        asked = user.traffic.of(kind)
        with user.client.request(
            asked.method,
            asked.path,
            name=kind,
            data=asked.body,  # type: ignore[arg-type] # bytes are sent as they are
            headers={"Content-Type": asked.content_type},
            catch_response=True,
        ) as answer:
            if not answer.status_code:
                answer.failure(f"no answer: {type(answer.error).__name__}")
            elif fault := asked.fault(answer.status_code, answer.content or b""):
                answer.failure(fault)
            else:
                answer.success()

    ask.__name__ = kind
    return ask


def _tasks(mix: Mix) -> list[TaskSet | Callable[..., None]]:
    """Each task as often as its weight says, as locust itself spells weights out."""
    return [task for kind, weight in mix.items() for task in [_asks(kind)] * weight]


class SearchHeavy(Visitor):
    """Searches, and now and then adds something."""

    tasks = _tasks(MIXES["search"])


class UploadHeavy(Visitor):
    """Adds pictures and texts, and searches in between."""

    tasks = _tasks(MIXES["upload"])


class Mixed(Visitor):
    """Searches and adds, and gets every seventh request wrong."""

    tasks = _tasks(MIXES["mixed"])
