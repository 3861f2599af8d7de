from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from starlette.types import Message, Receive, Scope, Send

from crossmodal.api.untraced import Untraced


async def test_no_span_is_begun_inside_and_all_may_begin_after() -> None:
    seen: list[bool] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(is_http_instrumentation_enabled())

    async def receive() -> Message:
        raise AssertionError

    async def send(_message: Message) -> None:
        raise AssertionError

    await Untraced(app)({"type": "http"}, receive, send)
    assert seen == [False]
    assert is_http_instrumentation_enabled()
