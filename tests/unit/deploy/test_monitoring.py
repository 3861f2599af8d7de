"""Rules, dashboard and monitors: PromQL that parses, over series that exist, with thresholds that the documents state."""

import json
import re
from pathlib import Path

import promql_parser
import pytest
from prometheus_client import REGISTRY

from crossmodal import telemetry
from crossmodal.errors import CrossModalError, Shed
from tests.kustomize import build, documents
from tests.promql import MONITORING, asked, expressions, panels, recorded, rules, selectors
from tests.unit.deploy.test_manifests import PORT, named, pods
from tests.unit.deploy.thresholds import QUEUE_LONG
from tools.servers import ROOT

TARGET_LABELS = {"job", "namespace", "pod"}
"""Labels that Prometheus adds to whatever it asks."""
DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
BURN = {"Fast": [("1h", "5m", "14.4"), ("6h", "30m", "6")], "Slow": [("1d", "2h", "3"), ("3d", "6h", "1")]}
"""Long window, short window and burn rate, from chapter 5 of Google's SRE workbook."""


def shown() -> dict[str, set[str]]:
    """The series that the service's metrics make, with their labels."""
    names: dict[str, set[str]] = {}
    for metric in vars(telemetry).values():
        if hasattr(metric, "_labelnames") and hasattr(metric, "describe"):
            (described,) = metric.describe()
            suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[
                described.type
            ]
            for suffix in suffixes:
                names[described.name + suffix] = {*metric._labelnames, *(["le"] if suffix == "_bucket" else [])}
    return names


def all_codes(kind: type[CrossModalError] = CrossModalError) -> set[str]:
    return {kind.code}.union(*(all_codes(each) for each in kind.__subclasses__()))


def test_every_expression_is_promql() -> None:
    every = list(expressions())
    assert len(every) > 40
    for expression in every:
        assert isinstance(promql_parser.parse(expression), promql_parser.Expr)


@pytest.mark.parametrize("wrong", ["sum(rate(a[5m])", "nobody_knows(a)", "rate(a)", "a{b=}"])
def test_what_is_no_promql_is_noticed(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        promql_parser.parse(wrong)


def test_every_series_and_label_asked_for_is_one_the_service_makes() -> None:
    made = shown()
    assert len(made) > 20
    assert set(made) > {"crossmodal_ready", "crossmodal_request_seconds_bucket"}
    for selector in asked():
        assert selector.name in made
        for matcher in selector.matchers.matchers:
            assert matcher.name in made[selector.name] | TARGET_LABELS, (selector.name, matcher.name)


def test_what_is_counted_is_looked_for_under_its_real_values() -> None:
    edges = {sample.labels["le"] for metric in REGISTRY.collect() for sample in metric.samples if "le" in sample.labels}
    telemetry.count_request("interactive", 200, 0.1)
    (seconds,) = [metric for metric in REGISTRY.collect() if metric.name == "crossmodal_request_seconds"]
    edges |= {sample.labels["le"] for sample in seconds.samples if "le" in sample.labels}
    values = {
        "le": edges,
        "code": all_codes(),
        "stage": set(telemetry.STAGES),
        "lane": {"interactive", "bulk"},
        "work": {"interactive", "bulk"},
        "status": {"2xx", "5xx"},
        "outcome": {"hit", "miss"},
        "operation": set(telemetry.STORE_OPERATIONS),
        "reason": {reason.value for reason in Shed},
        "device": {"cuda.*"},  # `cuda` or `cuda:N`, as CROSSMODAL_DEVICE
    }
    for selector in asked():
        for matcher in selector.matchers.matchers:
            if matcher.name not in TARGET_LABELS:
                assert set(matcher.value.split("|")) <= values[matcher.name], (selector.name, matcher.name)


def test_rules_ask_only_for_what_is_recorded() -> None:
    named_by_rules = {each.name for rule in rules() for each in selectors(rule["expr"]) if ":" in (each.name or "")}
    assert named_by_rules == recorded()


def test_rules_have_the_shape_that_the_operator_documents() -> None:
    (document,) = documents(MONITORING / "rules.yaml")
    assert (document["apiVersion"], document["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    for group in document["spec"]["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
    for rule in rules():
        assert set(rule) in ({"record", "expr"}, {"alert", "expr", "for", "labels", "annotations"})
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket", "info"}
            assert set(rule["annotations"]) == {"summary", "description", "runbook"}
            assert (ROOT / rule["annotations"]["runbook"]).is_file()
        else:
            assert re.fullmatch(r"crossmodal:[a-z_]+:[a-z0-9_]+", rule["record"])


@pytest.mark.parametrize(
    ("kind", "record", "budget"), [("Error", "request_errors", "0.001"), ("Latency", "slow_requests", "0.01")]
)
@pytest.mark.parametrize("speed", ["Fast", "Slow"])
def test_budgets_burn_in_two_windows_at_a_time(kind: str, record: str, budget: str, speed: str) -> None:
    (rule,) = [rule for rule in rules() if rule.get("alert") == f"Crossmodal{kind}Burn{speed}"]
    compared = re.findall(r"crossmodal:(\w+):ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)", rule["expr"])
    expected = [(record, window, rate, budget) for long, short, rate in BURN[speed] for window in (long, short)]
    assert compared == expected
    assert rule["expr"].count("\nand\n") + rule["expr"].count("  and\n") == len(BURN[speed])


def test_recorded_ratios_are_over_the_window_of_their_name() -> None:
    for rule in rules():
        if "record" in rule:
            window = rule["record"].rpartition("ratio_rate")[2]
            assert set(re.findall(r"\[(\w+)\]", rule["expr"])) == {window}


def test_the_document_lists_every_alert_as_it_is() -> None:
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    rows = re.findall(r"^\| `(Crossmodal\w+)` \| (\w+) \| (\w+) \|", DOCUMENT, re.MULTILINE)
    assert {name: (wait, severity) for name, wait, severity in rows} == {
        name: (rule["for"], rule["labels"]["severity"]) for name, rule in alerts.items()
    }


def test_the_document_states_the_objectives_and_thresholds_of_the_files(kubernetes: Path) -> None:
    assert "99.9 %" in DOCUMENT  # 0.001 in the rules
    assert "99 %" in DOCUMENT  # 0.01
    grace = {
        name: pod["spec"]["terminationGracePeriodSeconds"]
        for name, pod in pods(build(kubernetes / "overlays" / "gpu")).items()
    }
    assert f"`terminationGracePeriodSeconds` {grace['crossmodal-api']}" in DOCUMENT
    assert f"{grace['crossmodal-encoder']} for the encoder" in DOCUMENT
    note = {"api": "", "encoder": ", encoders on CPUs", "encoder-gpu": ", encoders on GPUs (`keda-encoder-gpu`)"}
    for part, of in note.items():
        (scaled,) = build(kubernetes / "scaling" / f"keda-{part}")
        spec = scaled["spec"]
        (metric,) = selectors(spec["triggers"][0]["metadata"]["query"])
        threshold = spec["triggers"][0]["metadata"]["threshold"]
        row = f"| `{metric.name}`{of} | {threshold} | {spec['minReplicaCount']} to {spec['maxReplicaCount']} |"
        assert row in DOCUMENT


def test_a_queue_is_long_from_four_batches_of_its_device_on() -> None:
    (rule,) = [rule for rule in rules() if rule.get("alert") == "CrossmodalQueueLong"]
    on_cpus, on_gpus = rule["expr"].split("\nor\n")
    waiting = "sum by (job) (crossmodal_queued_items) / count by (job) (crossmodal_queued_items)"
    elsewhere = 'unless on (job) crossmodal_model_info{device=~"cuda.*"}'
    assert " ".join(on_cpus.split()) == f"( {waiting} > {QUEUE_LONG['cpu']} {elsewhere} )"
    assert on_gpus == f"{waiting} > {QUEUE_LONG['gpu']}"
    assert f"{QUEUE_LONG['cpu']} items on CPUs, {QUEUE_LONG['gpu']} on GPUs |" in DOCUMENT


def test_monitors_ask_pods_that_exist_and_name_the_jobs_that_are_asked_for(kubernetes: Path) -> None:
    built = build(MONITORING)
    of_cluster = pods(build(kubernetes / "overlays" / "gpu"))
    monitors = named(built, "PodMonitor")
    assert set(monitors) == set(of_cluster)
    for name, monitor in monitors.items():
        labels = of_cluster[name]["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels[monitor["spec"]["jobLabel"]] == name  # so the job is named so
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        (port,) = of_cluster[name]["spec"]["containers"][0]["ports"]
        assert (endpoint["port"], port["containerPort"]) == (port["name"], PORT)
        assert endpoint["path"] == "/metrics"
        known = {"port", "path", "interval", "scrapeTimeout", "authorization", "metricRelabelings"}
        assert set(endpoint) <= known
    jobs = {
        matcher.value
        for expression in expressions()
        for selector in selectors(expression)
        for matcher in selector.matchers.matchers
        if matcher.name == "job"
    }
    assert jobs == {*monitors, "crossmodal-.*"}


def test_the_dashboard_is_whole() -> None:
    (board,) = [
        json.loads(document["data"]["crossmodal.json"])
        for document in build(MONITORING)
        if document["kind"] == "ConfigMap"
    ]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["targets"]
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "namespace"}


def test_what_operations_says_to_watch_is_on_the_dashboard() -> None:
    watched = set(re.findall(r"^- `(crossmodal_\w+)`", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert len(watched) >= 4
    on_it = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    assert {name for name in watched if name not in on_it} == set()
