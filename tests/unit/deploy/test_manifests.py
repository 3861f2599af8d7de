"""The manifests of deploy/kubernetes: valid by Kubernetes' own schemas, and of one mind among themselves."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from bentoml._internal.container.generate import BENTO_UID_GID

from crossmodal.encoder.over_http import CONNECTION_SECONDS, SPREAD
from crossmodal.settings import EncoderPlace, Settings
from tests.kustomize import Document, build, documents
from tests.unit.deploy.thresholds import API_FULL, WANTED
from tools.servers import ROOT

VERSIONS = ("1.32.0", "1.37.0")
"""The oldest Kubernetes that has all that is used (a preStop that sleeps, by default), and the newest whose schemas are here."""
BUILT_IN = {"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1", "autoscaling/v2"}
PORT = 3000
GIB = 2**30
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": GIB}


def named(built: list[Document], kind: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in built if document["kind"] == kind}


def pods(built: list[Document]) -> dict[str, Document]:
    return {name: document["spec"]["template"] for name, document in named(built, "Deployment").items()}


def size(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (*texts(key), *texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


def settings_of(built: list[Document], pod: str = "crossmodal-api") -> dict[str, str]:
    """The variables of a pod that are no secret."""
    (container,) = pods(built)[pod]["spec"]["containers"]
    maps = [named(built, "ConfigMap")[source["configMapRef"]["name"]]["data"] for source in container["envFrom"]]
    own = {variable["name"]: variable["value"] for variable in container.get("env", []) if "value" in variable}
    return {name: value for data in maps for name, value in data.items()} | own


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_by_the_schemas_of_kubernetes(overlay: list[Document], version: str) -> None:
    checked = [document for document in overlay if document["apiVersion"] in BUILT_IN]
    assert len(checked) > 10
    for document in checked:
        kubernetes_validate.validate(document, version, strict=True)
    assert {document["apiVersion"] for document in overlay} - BUILT_IN == {"keda.sh/v1alpha1"}


def test_the_schemas_refuse_what_kubernetes_does_not_know(overlay: list[Document]) -> None:
    deployment = named(overlay, "Deployment")["crossmodal-api"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessprobe"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("part", ["api", "encoder", "encoder-gpu"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_other_autoscaler_is_valid_and_equal(kubernetes: Path, part: str, version: str) -> None:
    (hpa,) = build(kubernetes / "scaling" / f"hpa-{part}")
    (keda,) = build(kubernetes / "scaling" / f"keda-{part}")
    kubernetes_validate.validate(hpa, version, strict=True)
    (metric,) = hpa["spec"]["metrics"]
    (trigger,) = keda["spec"]["triggers"]
    assert hpa["spec"]["minReplicas"] == keda["spec"]["minReplicaCount"]
    assert hpa["spec"]["maxReplicas"] == keda["spec"]["maxReplicaCount"]
    assert metric["pods"]["target"]["averageValue"] == trigger["metadata"]["threshold"]
    (rule,) = [
        rule
        for rule in yaml.safe_load((kubernetes / "scaling" / "adapter.yaml").read_text())["rules"]["custom"]
        if rule["name"]["as"] == metric["pods"]["metric"]["name"]
    ]
    assert rule["seriesQuery"].startswith(rule["name"]["matches"] + "{")
    job = f"crossmodal-{part.removesuffix('-gpu')}"
    assert f'job="{job}"' in rule["seriesQuery"]
    of_all_pods = (
        rule["metricsQuery"].removesuffix(" by (<<.GroupBy>>)").replace("<<.Series>>", rule["name"]["matches"])
    )
    labels = f'namespace="crossmodal", job="{job}"'
    assert of_all_pods.replace("<<.LabelMatchers>>", labels) == trigger["metadata"]["query"]
    assert hpa["spec"]["behavior"] == keda["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]


def test_every_variable_of_the_service_is_one_of_its_settings(overlay: list[Document]) -> None:
    known = {f"CROSSMODAL_{name.upper()}" for name in Settings.model_fields}
    used = {word for text in texts(overlay) for word in re.findall(r"CROSSMODAL_[A-Z_]+", text)}
    assert len(used) > 5
    assert used <= known


def test_the_settings_are_accepted_and_say_where_the_model_is(
    overlay: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    for pod in pods(overlay):
        with monkeypatch.context() as inside:
            for name, value in settings_of(overlay, pod).items():
                inside.setenv(name, value)
            read = Settings()
            if pod == "crossmodal-encoder":
                # service.py reads them in every process, and ends where a file is missing.
                assert (read.keys_file, read.policies) == (None, None)
                assert (read.encoder, read.encoder_url) == (EncoderPlace.LOCAL, None)
    for name, value in settings_of(overlay).items():
        monkeypatch.setenv(name, value)
    read = Settings()
    apart = "crossmodal-encoder" in pods(overlay)
    assert read.encoder is (EncoderPlace.SERVICE if apart else EncoderPlace.LOCAL)
    assert read.store == "http://qdrant:6333"
    if apart:
        service = named(overlay, "Service")["crossmodal-encoder"]
        url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
        assert read.encoder_url == url


def test_services_budgets_policies_and_autoscalers_select_pods_that_exist(overlay: list[Document]) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(overlay).values()]
    labels.append({"app.kubernetes.io/name": "qdrant"})  # by its chart
    selectors = [document["spec"]["selector"] for document in named(overlay, "Service").values()]
    selectors += [document["spec"]["selector"]["matchLabels"] for document in named(overlay, "Deployment").values()]
    selectors += [
        document["spec"]["selector"]["matchLabels"] for document in named(overlay, "PodDisruptionBudget").values()
    ]
    policies = named(overlay, "NetworkPolicy").values()
    selectors += [policy["spec"]["podSelector"].get("matchLabels", {}) for policy in policies]
    assert len(selectors) > 6
    for selector in selectors:
        assert any(selector.items() <= each.items() for each in labels), selector
    targets = {document["spec"]["scaleTargetRef"]["name"] for document in named(overlay, "ScaledObject").values()}
    assert targets == set(pods(overlay))


def test_the_same_image_serves_one_service_a_pod_on_the_port_that_all_speak_of(overlay: list[Document]) -> None:
    images = set()
    for name, pod in pods(overlay).items():
        (container,) = pod["spec"]["containers"]
        images.add(container["image"])
        entry = {"crossmodal-api": "service:CrossModalSearch", "crossmodal-encoder": "service:Encoder"}[name]
        assert container["args"] == ["bentoml", "serve", entry, "--host", "0.0.0.0", "--port", str(PORT)]
        (port,) = container["ports"]
        assert port == {"name": "http", "containerPort": PORT}
        (served,) = named(overlay, "Service")[name]["spec"]["ports"]
        assert (served["port"], served["targetPort"]) == (PORT, "http")
    assert images == {"registry.example.com/crossmodal:0.1.0"}


def test_probes_fit_a_model_that_loads_for_minutes(overlay: list[Document]) -> None:
    for name, pod in pods(overlay).items():
        (container,) = pod["spec"]["containers"]
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
        assert paths == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}
        assert container["readinessProbe"]["timeoutSeconds"] > 4  # /readyz is answered within 4 seconds
        start = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
        # The API answers while it loads; the encoder opens its port when it has loaded.
        assert start >= (600 if name == "crossmodal-encoder" else 60)


def test_a_pod_has_the_time_to_finish_what_it_began(overlay: list[Document]) -> None:
    read = settings_of(overlay)
    for part in pods(overlay):
        assert {name: settings_of(overlay, part)[name] for name in ("CROSSMODAL_DRAIN", "CROSSMODAL_TIMEOUT")} == {
            name: read[name] for name in ("CROSSMODAL_DRAIN", "CROSSMODAL_TIMEOUT")
        }
    drain, timeout = float(read["CROSSMODAL_DRAIN"]), float(read["CROSSMODAL_TIMEOUT"])
    for name, pod in pods(overlay).items():
        before = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds")
        assert before == (40 if name == "crossmodal-encoder" else None)
        assert pod["spec"]["terminationGracePeriodSeconds"] >= (before or drain) + timeout + 5


def test_an_encoder_ends_when_no_connection_to_it_is_used_any_more(overlay: list[Document]) -> None:
    if "crossmodal-encoder" in pods(overlay):
        container = pods(overlay)["crossmodal-encoder"]["spec"]["containers"][0]
        assert container["lifecycle"]["preStop"]["sleep"]["seconds"] > CONNECTION_SECONDS * (1 + SPREAD)


def test_pods_are_locked_down(overlay: list[Document]) -> None:
    (namespace,) = named(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(overlay).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == BENTO_UID_GID
        assert spec["securityContext"]["fsGroup"] == BENTO_UID_GID
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_whatever_is_written_is_on_a_volume(overlay: list[Document]) -> None:
    read = settings_of(overlay)
    for name, pod in pods(overlay).items():
        spec = pod["spec"]
        mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert {mount["name"] for mount in mounts.values()} == set(volumes)
        for path in ("/tmp", "/dev/shm", read["BENTOML_HOME"], read["CROSSMODAL_DATA"]):  # noqa: S108 -- paths in a pod
            assert "emptyDir" in volumes[mounts[path]["name"]]
        if name == "crossmodal-api":
            assert volumes[mounts[read["CROSSMODAL_MEDIA"]]["name"]]["persistentVolumeClaim"]
            assert str(Path(read["CROSSMODAL_KEYS_FILE"]).parent) in mounts
        claims = [volume["persistentVolumeClaim"] for volume in volumes.values() if "persistentVolumeClaim" in volume]
        assert {claim["claimName"] for claim in claims} <= set(named(overlay, "PersistentVolumeClaim"))
    with_model = pods(overlay).get("crossmodal-encoder", pods(overlay)["crossmodal-api"])
    mounts = {mount["mountPath"]: mount for mount in with_model["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["/models"]["readOnly"] is True
    assert read["CROSSMODAL_MODEL"].startswith("local-dir:/models/")  # a download would need a way out


def test_memory_is_enough_for_bodies_decoders_and_model(overlay: list[Document]) -> None:
    decoders = Settings.model_fields["decode_workers"].default * 10**9
    bodies = Settings.model_fields["max_buffered_bytes"].default
    for name, pod in pods(overlay).items():
        resources = pod["spec"]["containers"][0]["resources"]
        assert "cpu" not in resources["limits"]
        limit = size(resources["limits"]["memory"])
        model = 1.3e9 if "crossmodal-encoder" not in pods(overlay) else 0
        if name == "crossmodal-api":
            assert limit >= decoders + bodies + model
        else:
            assert limit >= 1.3e9
        assert size(resources["requests"]["memory"]) <= limit


def test_the_encoder_has_a_gpu_where_the_overlay_says_so(kubernetes: Path) -> None:
    container = pods(build(kubernetes / "overlays" / "gpu"))["crossmodal-encoder"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "CROSSMODAL_DEVICE", "value": "cuda"} in container["env"]
    api = pods(build(kubernetes / "overlays" / "gpu"))["crossmodal-api"]["spec"]["containers"][0]
    assert "nvidia.com/gpu" not in api["resources"]["limits"]


def test_nothing_is_open_but_what_the_policies_list(overlay: list[Document]) -> None:
    policies = named(overlay, "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    reached = {
        (name, peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"], port["port"])
        for name, policy in policies.items()
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        if "namespaceSelector" not in peer
        for port in rule["ports"]
    }
    expected = {("crossmodal-api", "qdrant", 6333), ("qdrant", "qdrant", 6333), ("qdrant", "qdrant", 6335)}
    if "crossmodal-encoder" in policies:
        expected |= {("crossmodal-api-to-encoder", "crossmodal-encoder", PORT)}
        (rule,) = policies["crossmodal-encoder"]["spec"]["ingress"]
        pods_let_in = {peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in rule["from"]}
        assert pods_let_in == {"crossmodal-api", "prometheus"}
    assert reached == expected


def test_scaled_objects_have_the_fields_that_keda_documents(overlay: list[Document]) -> None:
    known = {
        "scaleTargetRef",
        "pollingInterval",
        "cooldownPeriod",
        "minReplicaCount",
        "maxReplicaCount",
        "fallback",
        "advanced",
        "triggers",
    }
    for name, scaled in named(overlay, "ScaledObject").items():
        spec = scaled["spec"]
        assert set(spec) <= known
        assert 1 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
        assert set(spec["fallback"]) == {"failureThreshold", "replicas"}
        (trigger,) = spec["triggers"]
        assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")  # which a fallback needs
        assert set(trigger["metadata"]) == {"serverAddress", "query", "threshold", "ignoreNullValues"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert f'job="{name}"' in trigger["metadata"]["query"]


def test_thresholds_follow_from_the_size_of_a_batch_until_they_are_measured(kubernetes: Path) -> None:
    for part, threshold in (("api", API_FULL), ("encoder", WANTED["cpu"]), ("encoder-gpu", WANTED["gpu"])):
        (scaled,) = build(kubernetes / "scaling" / f"keda-{part}")
        assert scaled["spec"]["triggers"][0]["metadata"]["threshold"] == str(threshold)


@pytest.mark.parametrize(("name", "device"), [("cpu-split", "cpu"), ("gpu", "gpu")])
def test_an_overlay_scales_encoders_by_the_threshold_of_its_device(kubernetes: Path, name: str, device: str) -> None:
    built = build(kubernetes / "overlays" / name)
    assert {"cpu": "cpu", "gpu": "cuda"}[device] == settings_of(built, "crossmodal-encoder")["CROSSMODAL_DEVICE"]
    triggers = {name: each["spec"]["triggers"][0] for name, each in named(built, "ScaledObject").items()}
    assert triggers["crossmodal-encoder"]["metadata"]["threshold"] == str(WANTED[device])
    assert triggers["crossmodal-api"]["metadata"]["threshold"] == str(API_FULL)


def test_secrets_are_named_and_never_given(kubernetes: Path) -> None:
    files = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".yaml", ".json"}]
    assert len(files) > 20
    for path in files:
        for document in documents(path):
            assert document.get("kind") != "Secret", path
    for overlay in ("cpu", "gpu"):
        for pod in pods(build(kubernetes / "overlays" / overlay)).values():
            for variable in pod["spec"]["containers"][0].get("env", []):
                if re.search("KEY|TOKEN|SECRET|PASSWORD", variable["name"]):
                    assert set(variable) == {"name", "valueFrom"}


def test_qdrant_has_the_key_that_the_api_is_given_and_the_version_of_its_client(kubernetes: Path) -> None:
    values = yaml.safe_load((kubernetes / "qdrant" / "values.yaml").read_text())
    (variable,) = values["env"]
    api = pods(build(kubernetes / "overlays" / "gpu"))["crossmodal-api"]["spec"]["containers"][0]
    (key,) = [each for each in api["env"] if each["name"] == "CROSSMODAL_STORE_API_KEY"]
    assert variable == {"name": "QDRANT__SERVICE__API_KEY", "valueFrom": key["valueFrom"]}
    assert values["apiKey"] is False
    assert values["fullnameOverride"] == "qdrant"  # the host of CROSSMODAL_STORE
    assert values["replicaCount"] > values["config"]["storage"]["collection"]["replication_factor"] >= 2
    (client,) = re.findall(
        r"^qdrant-client==(\d+\.\d+)\.", (ROOT / "requirements/runtime.in").read_text(), re.MULTILINE
    )
    assert values["image"]["tag"].startswith(f"v{client}.")
