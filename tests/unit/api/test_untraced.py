from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from starlette.types import Receive, Scope, Send

from crossmodal.api.untraced import Untraced


async def test_no_span_is_begun_inside_and_all_may_begin_after() -> None:
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(is_http_instrumentation_enabled())

    async def unused(*_: object) -> dict[str, object]:
        raise AssertionError

    await Untraced(app)({"type": "http"}, unused, unused)
    assert seen == [False]
    assert is_http_instrumentation_enabled()
