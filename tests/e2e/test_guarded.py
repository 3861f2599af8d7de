"""The real server with keys, tenants, a rate and another site's page allowed: everything the gate does, end to end."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_service import BANANAS, QUERY, sample
from tests.faults.checks import until
from tools.servers import Server, run_indexer

pytestmark = pytest.mark.e2e

ORIGIN = "https://shop.example"


class Keys:
    """A keys file made by the command; ``headers`` hold a key, ``revoke`` takes it out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "keys.json"
        self.plain: dict[str, str] = {}

    def make(self, name: str, tenant: str, *scopes: str, **options: str) -> None:
        arguments = [word for scope in scopes for word in ("--scope", scope)]
        arguments += [word for option, value in options.items() for word in (f"--{option}", value)]
        made = run_indexer(
            self._folder, "key", "--file", str(self.file), "--name", name, "--tenant", tenant, *arguments
        )
        assert made.returncode == 0, made.stderr
        self.plain[name] = made.stdout.strip()

    def revoke(self, name: str) -> None:
        assert run_indexer(self._folder, "revoke", "--file", str(self.file), "--name", name).returncode == 0

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.plain[name]}"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    keys = Keys(tmp_path_factory.mktemp("keys"))
    keys.make("acme-all", "acme", "read", "write")
    keys.make("acme-read", "acme", "read")
    keys.make("globex-all", "globex", "read", "write")
    keys.make("boss", "acme", "admin")
    keys.make("slow", "acme", "read", rate="1", burst="5")
    return keys


@pytest.fixture(scope="module")
def guarded(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("guarded"), KEYS_FILE=str(keys.file), CORS_ORIGINS=json.dumps([ORIGIN]))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
def http(guarded: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, timeout=60) as client:
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def test_without_a_key_only_what_is_open(http: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/ui/", "/docs.json"):
        assert http.get(path).status_code == 200, path
    for path in ("/stats", "/items/image", "/metrics", "/schema.json"):
        answer = http.get(path)
        assert code(answer) == (401, "unauthorized"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    large = http.post("/index/images", files={"files": bytes(5 * 2**20)})
    assert code(large) == (401, "unauthorized")


def test_scopes(http: httpx.Client, keys: Keys) -> None:
    read, write, boss = (keys.headers(name) for name in ("acme-read", "acme-all", "boss"))
    assert code(http.post("/index/texts", json={"items": ["a"]}, headers=read)) == (403, "forbidden")
    assert code(http.get("/metrics", headers=write)) == (403, "forbidden")
    assert http.get("/metrics", headers=boss).status_code == 200
    assert http.post("/index/texts", json={"items": ["a text of acme"]}, headers=write).json()["indexed"] == 1
    assert http.get("/stats", headers=read).json()["texts_indexed"] == 1


def test_tenants_see_their_own(http: httpx.Client, keys: Keys) -> None:
    acme, globex = keys.headers("acme-all"), keys.headers("globex-all")
    content = sample(BANANAS).read_bytes()
    for headers in (acme, globex):
        answer = http.post("/index/images", files={"files": content}, data={"ids": '["same"]'}, headers=headers)
        assert answer.json()["results"] == [{"id": "same", "status": "indexed"}]
    assert http.delete("/items/image/same", headers=acme).status_code == 204
    assert code(http.get("/images/same", headers=acme)) == (404, "not_found")
    assert http.get("/images/same", headers=globex).content == content
    query = {"query": QUERY}
    assert http.post("/search/text-to-image", json=query, headers=acme).json()["results"] == []
    (hit,) = http.post("/search/text-to-image", json=query, headers=globex).json()["results"]
    assert hit["id"] == "same"


def test_a_rate_is_used_up_and_comes_back(http: httpx.Client, keys: Keys) -> None:
    slow = keys.headers("slow")
    assert http.post("/embed/texts", json={"texts": ["a"] * 6}, headers=slow).status_code == 200
    refused = http.get("/stats", headers=slow)
    assert code(refused) == (429, "rate_limited")
    time.sleep(int(refused.headers["retry-after"]))
    assert http.get("/stats", headers=slow).status_code == 200
    assert http.get("/stats", headers=keys.headers("acme-read")).status_code == 200


def test_keys_come_and_go_without_a_restart(http: httpx.Client, keys: Keys) -> None:
    keys.make("acme-next", "acme", "read")

    def status(name: str) -> int:
        return http.get("/stats", headers=keys.headers(name)).status_code

    until(lambda: status("acme-next") == 200, within=10)
    assert status("acme-read") == 200
    keys.revoke("acme-next")
    until(lambda: status("acme-next") == 401, within=10)


def test_the_listed_site_may_call_and_another_may_not(http: httpx.Client) -> None:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = http.options("/search/text-to-image", headers={"Origin": ORIGIN} | asking)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    other = http.options("/search/text-to-image", headers={"Origin": "https://evil.example"} | asking)
    assert "access-control-allow-origin" not in other.headers
    refused = http.get("/stats", headers={"Origin": ORIGIN})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN  # or its page could not read why


def test_no_key_is_in_the_log(guarded: Server, keys: Keys, http: httpx.Client) -> None:
    assert http.get("/stats", params={"key": "nobody"}, headers=keys.headers("boss")).status_code == 200
    assert not [name for name, plain in keys.plain.items() if plain in guarded.log]
    assert "no keys are configured" not in guarded.log


def test_an_open_service_warns_once(server: Server) -> None:
    assert server.log.count("no keys are configured") == 1
