import pytest
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from starlette.types import Message, Receive, Scope, Send

from crossmodal.api.foreign import UNKNOWN, Inside, Outside

PATHS = ("/search/text-to-image", "/items", "/items/{item_id}", "/images/{item_id}/thumbnail", "/ui")


async def receive() -> Message:
    raise AssertionError


async def send(_message: Message) -> None:
    raise AssertionError


class Seen:
    """Notes what it is shown."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.spans: list[bool] = []

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.paths.append(scope["path"])
        self.spans.append(is_http_instrumentation_enabled())


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/search/text-to-image", "/search/text-to-image"),
        ("/items", "/items"),
        ("/items/a/b", "/items"),
        ("/images/x/thumbnail", "/images"),
        ("/ui/index.html", "/ui"),
        ("/metrics", "/metrics"),
        ("/readyz", "/readyz"),
        ("/made/up", UNKNOWN),
        ("//items/x", "/items"),
        ("", UNKNOWN),
        ("/", UNKNOWN),
    ],
)
async def test_what_is_between_sees_one_of_a_few_paths_and_our_app_the_one_asked_for(path: str, shown: str) -> None:
    ours, theirs = Seen(), Seen()

    async def between(scope: Scope, receive: Receive, send: Send) -> None:
        await theirs(scope, receive, send)
        await Inside(ours)(scope, receive, send)

    scope = {"type": "http", "path": path}
    await Outside(between, PATHS, traced=False)(scope, receive, send)
    assert (theirs.paths, ours.paths) == ([shown], [path])
    assert scope == {"type": "http", "path": path}


@pytest.mark.parametrize("traced", [True, False])
async def test_spans_begin_only_where_somebody_gets_them(traced: bool) -> None:  # noqa: FBT001
    seen = Seen()
    await Outside(seen, PATHS, traced=traced)({"type": "http", "path": "/items"}, receive, send)
    assert seen.spans == [traced]
    assert is_http_instrumentation_enabled()


async def test_other_events_pass_as_they_are() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        scopes.append(scope)

    await Outside(app, PATHS, traced=True)({"type": "lifespan"}, receive, send)
    await Inside(app)({"type": "lifespan"}, receive, send)
    assert scopes == [{"type": "lifespan"}] * 2
