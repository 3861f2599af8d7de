"""Traces on a cluster: the way to the collector, and the settings that only have to be uncommented."""

import re
from pathlib import Path

import kubernetes_validate
import pytest

from crossmodal.settings import Settings
from tests.kustomize import Document, build
from tests.unit.deploy.test_manifests import VERSIONS, pods


@pytest.mark.parametrize("version", VERSIONS)
def test_the_policy_is_valid_and_selects_every_pod_of_ours(
    kubernetes: Path, overlay: list[Document], version: str
) -> None:
    (policy,) = build(kubernetes / "tracing")
    kubernetes_validate.validate(policy, version, strict=True)
    wanted = policy["spec"]["podSelector"]["matchLabels"].items()
    for pod in pods(overlay).values():
        assert wanted <= pod["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Egress"]
    assert policy["metadata"]["namespace"] == "crossmodal"


def test_the_commented_settings_are_real_and_lead_where_the_policy_does(kubernetes: Path) -> None:
    text = (kubernetes / "base" / "kustomization.yaml").read_text()
    commented = dict(re.findall(r"^ +# - CROSSMODAL_(\w+)=(\S+)$", text, re.MULTILINE))
    assert set(commented) == {"OTLP_ENDPOINT", "TRACE_RATIO"}
    settings = Settings.model_validate({name.lower(): value for name, value in commented.items()})
    (policy,) = build(kubernetes / "tracing")
    (way,) = policy["spec"]["egress"]
    (to,), (port,) = way["to"], way["ports"]
    namespace = to["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    name = to["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
    assert settings.otlp_endpoint == f"http://{name}.{namespace}:{port['port']}"
    assert 0 < settings.trace_ratio < 1
