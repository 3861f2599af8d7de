import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import Match, Route

from crossmodal import metering
from crossmodal.api import create_app
from crossmodal.api.caller import ANYBODY, Caller, Right
from crossmodal.api.gate import NOBODY, Gatekeeper, challenge, right_needed
from crossmodal.api.keyring import KeyRing
from crossmodal.errors import ConfigurationError, CrossModalError, Forbidden, RateLimited, Unauthorized
from crossmodal.settings import Settings
from tests.keys import entry, write_keys

OPEN, READ, WRITE, ADMIN = None, Right.READ, Right.WRITE, Right.ADMIN

EXPECTED: dict[tuple[str, str], Right | None] = {
    ("GET", "/"): OPEN,
    ("GET", "/ui"): OPEN,
    ("GET", "/docs.json"): OPEN,
    ("HEAD", "/docs.json"): OPEN,
    ("POST", "/index/images"): WRITE,
    ("POST", "/index/texts"): WRITE,
    ("POST", "/search"): READ,
    ("POST", "/search/text-to-image"): READ,
    ("POST", "/search/image-to-text"): READ,
    ("POST", "/search/similar-images"): READ,
    ("POST", "/search/similar-texts"): READ,
    ("POST", "/similarity"): READ,
    ("POST", "/classify"): READ,
    ("POST", "/describe"): READ,
    ("POST", "/duplicates"): READ,
    ("POST", "/moderate"): READ,
    ("POST", "/recommend"): READ,
    ("POST", "/explain"): READ,
    ("POST", "/embed/texts"): READ,
    ("POST", "/embed/images"): READ,
    ("POST", "/v1/embeddings"): READ,
    ("GET", "/v1/models"): READ,
    ("HEAD", "/v1/models"): READ,
    ("GET", "/v1/models/{model_id:path}"): READ,
    ("HEAD", "/v1/models/{model_id:path}"): READ,
    ("GET", "/items/{modality}"): READ,
    ("GET", "/items/{modality}/{item_id:path}"): READ,
    ("DELETE", "/items/{modality}/{item_id:path}"): WRITE,
    ("GET", "/images/{item_id:path}"): READ,
    ("HEAD", "/images/{item_id:path}"): READ,
    ("HEAD", "/stats"): READ,
    ("HEAD", "/items/{modality}"): READ,
    ("HEAD", "/items/{modality}/{item_id:path}"): READ,
    ("GET", "/images/{item_id:path}/thumbnail"): READ,
    ("HEAD", "/images/{item_id:path}/thumbnail"): READ,
    ("GET", "/stats"): READ,
}
"""What every route is meant to need; a route that is not here fails the test below until somebody has decided."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def scope(method: str = "GET", path: str = "/stats", *headers: tuple[str, str], **more: Any) -> dict[str, Any]:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw} | more


def bearer(key: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {key}")


def gate(tmp_path: Path, *entries: dict[str, Any], **options: Any) -> Gatekeeper:
    return Gatekeeper(KeyRing(write_keys(tmp_path / "keys.json", *entries)), **options)


def routes_of(app: FastAPI) -> Iterator[Route]:
    """Every route with methods."""
    return (route for route in app.routes if isinstance(route, Route))


def methods_and_paths(app: FastAPI) -> set[tuple[str, str]]:
    return {(method, route.path) for route in routes_of(app) for method in route.methods or set()}


def example(template: str) -> str:
    """A path that the template matches."""
    filled = template.replace("{modality}", "image").replace("{item_id:path}", "some;id/with a part")
    filled = filled.replace("{model_id:path}", "ViT-B-32/laion2b_s34b_b79k")
    assert "{" not in filled, f"say what stands for the parameters of {template}"
    return filled


def test_every_route_of_the_app_is_decided_on_and_needs_what_was_decided() -> None:
    undecided = methods_and_paths(create_app()) - set(EXPECTED)
    assert undecided == set(), "decide what these need: here, in the gate's table and in the README"
    for (method, template), right in EXPECTED.items():
        assert right_needed(method, example(template)) is right, (method, template)


def test_a_route_that_nobody_decided_on_is_found_and_closed() -> None:
    app = create_app()

    @app.post("/forgotten/{thing}")
    async def forgotten() -> None: ...

    assert methods_and_paths(app) - set(EXPECTED) == {("POST", "/forgotten/{thing}")}
    assert right_needed("POST", "/forgotten/x") is ADMIN


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", "/livez", OPEN),
        ("HEAD", "/readyz", OPEN),
        ("GET", "/healthz", OPEN),
        ("GET", "/ui/", OPEN),
        ("GET", "/ui/app.js", OPEN),
        ("GET", "/metrics", ADMIN),
        ("GET", "/schema.json", ADMIN),
        ("GET", "/search/", READ),
        ("PUT", "/search", ADMIN),
        ("PATCH", "/items/image/a", ADMIN),
        ("POST", "/items/image", ADMIN),
        ("DELETE", "/images/a", ADMIN),
        ("DELETE", "/index/images", ADMIN),
        ("GET", "/index/images", ADMIN),
        ("POST", "/ui/", ADMIN),
        ("POST", "/stats", ADMIN),
        ("post", "/search", ADMIN),
        ("TRACE", "/", ADMIN),
        ("", "/", ADMIN),
        ("GET", "/ui//app.js", ADMIN),
        ("GET", "/items/image//a", ADMIN),
        ("GET", "/ui/app.js\0.html", ADMIN),
        ("GET", "/items/image/a\n", ADMIN),
        ("GET", "/items/image/b/../a", ADMIN),
        ("GET", "/items/image/caf\u00e9; 50% \\ off", READ),
    ],
)
def test_what_needs_which_right(method: str, path: str, right: Right | None) -> None:
    assert right_needed(method, path) is right


def twisted(path: str) -> set[str]:
    """Spellings that some reader of addresses takes for ``path``, as they stand in ASGI's decoded path."""
    return {
        path + "/",
        path + "//",
        "/" + path,
        path.replace("/", "//"),
        path.replace("/", "/./"),
        path + "/.",
        path + "/..",
        "/ui/.." + path,
        "/ui/..;" + path,
        "/ui/.;x" + path,
        "/ui/x/../.." + path,
        "/ui" + path,
        "/ui;" + path,
        "/ui\\.." + path,
        "/livez/.." + path,
        "/livez;" + path,
        path + ";",
        path + ";x=/ui/",
        path.replace("/", ";/"),
        path + "/;",
        path.upper(),
        path.title(),
        path.replace("/", "%2f"),
        path.replace("/", "%2F").replace("%2F", "/", 1),
        path + "%00",
        path + "\0",
        path + "\n",
        path + " ",
        " " + path,
        path + "?",
        path + "#",
        path.removeprefix("/"),
        path.replace("/", "\\"),
        path.replace("e", "\u0435"),  # a Cyrillic letter
        path.replace("s", "\u017f"),  # folds to s
        path + "/ui/",
        path + "/%2e%2e/ui",
        "",
    }


@pytest.mark.parametrize("route", sorted(EXPECTED))
def test_no_spelling_reaches_a_route_with_less_than_it_needs(route: tuple[str, str]) -> None:
    app = create_app()
    method, template = route
    for path in twisted(example(template)) | twisted("/metrics"):
        needed = right_needed(method, path)
        for reached in routes_of(app):
            found, _ = reached.matches({"type": "http", "method": method, "path": path, "root_path": ""})
            if found is Match.FULL:
                assert needed in {EXPECTED[method, reached.path], ADMIN}, (path, reached.path)


@pytest.mark.parametrize("target", ["/metrics", "/stats", "/index/images", "/forgotten"])
def test_no_spelling_of_a_closed_path_is_open(target: str) -> None:
    # "/ui" + target is a file of the page, or none.
    for path in twisted(target) - {"/ui" + target}:
        assert right_needed("GET", path) is not None, path
        assert right_needed("POST", path) is not None, path


def test_the_right_key_is_admitted_and_named(tmp_path: Path) -> None:
    keeper = gate(tmp_path, entry("cms_a"), entry("cms_b", tenant="other", scopes=["admin"]))
    assert keeper.admit(scope("GET", "/stats", bearer("cms_a"))) == Caller("acme", frozenset({READ}), "a")
    assert keeper.admit(scope("GET", "/metrics", bearer("cms_b"))) == Caller("other", frozenset(Right), "b")
    assert keeper.admit(scope("POST", "/index/texts", ("AUTHORIZATION", "bEARER   cms_b"))).name == "b"


def test_a_key_goes_no_further_than_the_gate(tmp_path: Path) -> None:
    headers = (("Host", "a"), bearer("cms_a"), ("Accept", "*/*"))
    for keeper in (gate(tmp_path, entry("cms_a")), Gatekeeper(None)):
        for path in ("/stats", "/ui/"):
            asked = scope("GET", path, *headers)
            keeper.admit(asked)
            assert asked["headers"] == [(b"host", b"a"), (b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([], b""),
        ([], b"key=cms_a&api_key=cms_a&access_token=cms_a"),
        ([("X-API-Key", "cms_a")], b""),
        ([("Proxy-Authorization", "Bearer cms_a")], b""),
        ([("Cookie", "key=cms_a; Authorization=Bearer cms_a")], b""),
        ([("Authorization", "Basic Y21zX2E6Y21zX2E=")], b""),
        ([("Authorization", "cms_a")], b""),
        ([("Authorization", "Bearer")], b""),
        ([("Authorization", "Bearer ")], b""),
        ([("Authorization", "Bearercms_a")], b""),
        ([("Authorization", "Bearer\tcms_a")], b""),
        ([("Authorization", "Bearer cms_a, Bearer cms_a")], b""),
        ([("Authorization", "Bearer cms_a cms_a")], b""),
        ([("Authorization", "Bearer cms_ä")], b""),
        ([("Authorization", "Bearer cms_a\n")], b""),
        ([("Authorization", "Bearer " + "a" * 513)], b""),
        ([("Authorization", "Bearer cms_a"), ("Authorization", "Bearer cms_a")], b""),
        ([("Authorization", "Bearer cms_b")], b""),
        ([("Authorization", "Bearer CMS_A")], b""),
    ],
)
def test_no_other_way_to_send_a_key_counts(tmp_path: Path, headers: list[tuple[str, str]], query: bytes) -> None:
    keeper = gate(tmp_path, entry("cms_a"))
    asked = scope("GET", "/stats", *headers, query_string=query)
    with pytest.raises(Unauthorized) as caught:
        keeper.admit({**asked})
    assert "cms_" not in caught.value.detail
    invalid = ', error="invalid_token"' if any(name == "Authorization" for name, _ in headers) else ""
    assert challenge(asked, caught.value) == {"WWW-Authenticate": 'Bearer realm="crossmodal"' + invalid}


def test_a_key_may_do_what_its_scopes_say_and_nothing_else(tmp_path: Path) -> None:
    keeper = gate(
        tmp_path,
        entry("cms_r", scopes=["read"]),
        entry("cms_w", scopes=["write"]),
        entry("cms_a", scopes=["admin"]),
    )
    asked = {READ: ("POST", "/search"), WRITE: ("DELETE", "/items/text/a"), ADMIN: ("GET", "/metrics")}
    allowed = {"cms_r": {READ}, "cms_w": {WRITE}, "cms_a": {READ, WRITE, ADMIN}}
    for key, rights in allowed.items():
        for right, (method, path) in asked.items():
            one = scope(method, path, bearer(key))
            if right in rights:
                assert right in keeper.admit({**one}).rights
                continue
            with pytest.raises(Forbidden) as caught:
                keeper.admit({**one})
            assert repr(right.value) in caught.value.detail
            assert challenge(one, caught.value) == {
                "WWW-Authenticate": f'Bearer realm="crossmodal", error="insufficient_scope", scope="{right}"'
            }


def test_an_expired_key_is_told_so(tmp_path: Path) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    keeper = gate(tmp_path, entry("cms_a", expires="2030-01-01T00:00:00Z"), now=lambda: moment)
    with pytest.raises(Unauthorized, match="expired"):
        keeper.admit(scope("GET", "/stats", bearer("cms_a")))


def test_what_is_open_needs_no_key_and_gives_no_right(tmp_path: Path) -> None:
    keeper = gate(tmp_path, entry("cms_a"), rate=1.0, burst=1.0, clock=Clock())
    preflight = (("Origin", "https://shop.example"), ("Access-Control-Request-Method", "POST"))
    for _ in range(3):
        assert keeper.admit(scope("GET", "/ui/")) is NOBODY
        assert keeper.admit(scope("GET", "/livez", bearer("wrong"))) is NOBODY
        assert keeper.admit(scope("OPTIONS", "/index/images", *preflight)) is NOBODY
    assert NOBODY.rights == frozenset()
    for headers in ((), preflight[:1], preflight[1:]):
        with pytest.raises(Unauthorized):
            keeper.admit(scope("OPTIONS", "/index/images", *headers))


def test_a_path_before_the_services_own_is_left_out_as_the_router_does(tmp_path: Path) -> None:
    keeper = gate(tmp_path, entry("cms_a"))
    assert keeper.admit(scope("GET", "/clip/ui/", root_path="/clip")) is NOBODY
    for path, root in (("/clip/metrics", "/clip"), ("/clipui/", "/clip"), ("/clip/ui/", ""), ("/ui/x", "/ui")):
        with pytest.raises(CrossModalError) as caught:
            keeper.admit(scope("GET", path, bearer("cms_a"), root_path=root))
        assert caught.value.status == 403


def test_without_keys_everybody_may_do_everything_and_the_log_says_so_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    keeper = Gatekeeper.from_settings(Settings(data=tmp_path))
    keeper.start()
    for asked in (scope("GET", "/metrics"), scope("POST", "/index/images"), scope("GET", "/ui/", bearer("x"))):
        assert keeper.admit({**asked}) is ANYBODY
    keeper.close()
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["level"], "no keys" in line["event"]) == ("warning", True)


def test_settings_name_the_file_and_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_keys(tmp_path / "keys.json", entry("cms_a"))
    keeper = Gatekeeper.from_settings(Settings(data=tmp_path, keys_file=path, rate=0.5, burst=1.0))
    keeper.start()
    keeper.close()
    asked = scope("GET", "/stats", bearer("cms_a"))
    assert keeper.admit({**asked}).name == "a"
    keeper.admit({**asked})  # time has passed, so there is some of a unit again
    with pytest.raises(RateLimited):
        keeper.admit({**asked})
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigurationError, match="No such file"):
        Gatekeeper.from_settings(Settings(data=tmp_path, keys_file=tmp_path / "none.json"))


def test_each_key_has_its_own_rate_or_the_default(tmp_path: Path) -> None:
    clock = Clock()
    keeper = gate(
        tmp_path,
        entry("cms_a", rate=2, burst=4),
        entry("cms_b"),
        entry("cms_c", burst=1),
        rate=1.0,
        burst=2.0,
        clock=clock,
    )

    def admitted(key: str) -> int:
        count = 0
        while True:
            try:
                keeper.admit(scope("GET", "/stats", bearer(key)))
            except RateLimited:
                return count
            count += 1

    assert [admitted("cms_a"), admitted("cms_b"), admitted("cms_c")] == [4, 2, 1]
    clock.now += 1
    assert [admitted("cms_a"), admitted("cms_b"), admitted("cms_c")] == [2, 1, 1]


def test_work_found_out_later_is_charged_and_waited_for(tmp_path: Path) -> None:
    clock = Clock()
    keeper = gate(tmp_path, entry("cms_a", rate=2, burst=10), entry("cms_b"), clock=clock)
    asked = scope("POST", "/index/images", bearer("cms_a"))
    with pytest.raises(Forbidden):
        keeper.admit({**asked})
    asked = scope("POST", "/embed/images", bearer("cms_a"))
    keeper.admit({**asked})
    metering.charge(items=3, megapixels=12.0)
    with pytest.raises(RateLimited) as caught:
        keeper.admit({**asked})
    # 10 - 1 - 15 = -6, at 2 a second.
    assert caught.value.retry_after == 4
    metering.charge(items=1000)
    clock.now += 4
    keeper.admit({**asked})
    keeper.admit(scope("GET", "/stats", bearer("cms_b")))
    metering.charge(items=1000)
    clock.now += 1
    keeper.admit({**asked})


def test_without_keys_a_global_rate_holds_for_all_together() -> None:
    keeper = Gatekeeper(None, rate=1.0, burst=2.0, clock=Clock())
    keeper.admit(scope())
    keeper.admit(scope())
    with pytest.raises(RateLimited):
        keeper.admit(scope())
    assert keeper.admit(scope("GET", "/livez")) is ANYBODY
    unlimited = Gatekeeper(None, clock=Clock())
    for _ in range(1000):
        assert unlimited.admit(scope()) is ANYBODY


def test_a_key_taken_out_of_the_file_is_refused_and_its_bucket_forgotten(tmp_path: Path) -> None:
    ring = KeyRing(write_keys(tmp_path / "keys.json", entry("cms_a"), entry("cms_b")))
    keeper = Gatekeeper(ring, rate=1.0, burst=5.0, clock=Clock())
    for key in ("cms_a", "cms_b"):
        keeper.admit(scope("GET", "/stats", bearer(key)))
    assert len(keeper._buckets) == 2
    write_keys(tmp_path / "keys.json", entry("cms_b"))
    ring.look()
    with pytest.raises(Unauthorized):
        keeper.admit(scope("GET", "/stats", bearer("cms_a")))
    assert len(keeper._buckets) == 1
