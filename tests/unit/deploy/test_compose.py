"""deploy/compose.yaml, as far as it can be read without a container engine."""

import re
from typing import Any

import pytest
import yaml
from bentoml._internal.container.generate import BENTO_UID_GID

from crossmodal.settings import Settings
from tests.unit.deploy.test_manifests import PORT
from tools.servers import ROOT

DEPLOY = ROOT / "deploy"


@pytest.fixture
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


def test_variables_are_settings_and_agree_with_the_parts(compose: dict[str, Any]) -> None:
    known = {f"CROSSMODAL_{name.upper()}" for name in Settings.model_fields}
    services = compose["services"]
    used = [name for name in ("api", "encoder") for name in services[name]["environment"] if "CROSSMODAL" in name]
    assert set(used) <= known
    api = services["api"]["environment"]
    assert api["CROSSMODAL_ENCODER_URL"] == f"http://{services['encoder']['networks']['model']['aliases'][0]}:{PORT}"
    assert api["CROSSMODAL_STORE"] == "http://qdrant:6333"
    assert "qdrant" in services
    assert api["CROSSMODAL_STORE_API_KEY"] == services["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"]
    assert api["CROSSMODAL_KEYS_FILE"] == "/run/secrets/" + services["api"]["secrets"][0]


def test_services_are_locked_down_and_end_in_time(compose: dict[str, Any]) -> None:
    for name in ("api", "encoder"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["user"] == f"{BENTO_UID_GID}:{BENTO_UID_GID}"
        assert service["cap_drop"] == ["ALL"]
        drain, timeout = (int(service["environment"][f"CROSSMODAL_{each}"]) for each in ("DRAIN", "TIMEOUT"))
        assert int(service["stop_grace_period"].removesuffix("s")) >= drain + timeout + 5
        written = {path.split(":")[0] for path in service["tmpfs"]}
        assert {service["environment"][each] for each in ("BENTOML_HOME", "CROSSMODAL_DATA")} | {"/tmp"} == written  # noqa: S108 -- a path in a container


def test_the_api_can_write_where_it_keeps_pictures(compose: dict[str, Any]) -> None:
    services = compose["services"]
    media = services["api"]["environment"]["CROSSMODAL_MEDIA"]
    assert services["media-owner"]["entrypoint"] == ["chown", services["api"]["user"], media]
    assert services["media-owner"]["volumes"] == services["api"]["volumes"] == [f"media:{media}"]
    assert services["api"]["depends_on"]["media-owner"] == {"condition": "service_completed_successfully"}
    assert services["media-owner"]["network_mode"] == "none"


def test_only_the_api_reaches_encoder_and_store_and_nothing_is_open_to_the_world(compose: dict[str, Any]) -> None:
    services = compose["services"]
    on = {
        network: {name for name in services if network in services[name].get("networks", [])}
        for network in compose["networks"]
    }
    assert on == {"front": {"api", "prometheus"}, "model": {"api", "encoder", "prometheus"}, "store": {"api", "qdrant"}}
    assert compose["networks"]["model"] == compose["networks"]["store"] == {"internal": True}
    for service in services.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_no_secret_stands_in_it(compose: dict[str, Any]) -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./compose.secrets/")
    assert "deploy/compose.secrets/" in ignored
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("API_KEY|TOKEN|PASSWORD", name) or value.startswith("${"), name


def test_images_are_pinned_and_qdrant_is_of_its_clients_version(compose: dict[str, Any]) -> None:
    (client,) = re.findall(
        r"^qdrant-client==(\d+\.\d+)\.", (ROOT / "requirements/runtime.in").read_text(), re.MULTILINE
    )
    assert compose["services"]["qdrant"]["image"].startswith(f"qdrant/qdrant:v{client}.")
    assert re.fullmatch(r"prom/prometheus:v\d+\.\d+\.\d+", compose["services"]["prometheus"]["image"])


def test_prometheus_asks_the_services_there_are(compose: dict[str, Any]) -> None:
    asked = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in asked}
    assert targets == {"crossmodal-api": [f"api:{PORT}"], "crossmodal-encoder": [f"encoder:{PORT}"]}
    token = asked[0]["authorization"]["credentials_file"]
    assert token.removeprefix("/run/secrets/") in compose["services"]["prometheus"]["secrets"]
