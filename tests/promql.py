"""What deploy/ asks Prometheus: every expression, and the series it names."""

import json
from collections.abc import Iterator

import promql_parser

from tests.kustomize import Document, build, documents
from tools.servers import ROOT

MONITORING = ROOT / "deploy" / "kubernetes" / "monitoring"
SCALING = ROOT / "deploy" / "kubernetes" / "scaling"
OF_PROMETHEUS = {"up"}
"""Series that Prometheus itself makes."""


def rules() -> list[Document]:
    """Recording rules and alerts, in their order."""
    (rule,) = documents(MONITORING / "rules.yaml")
    return [each for group in rule["spec"]["groups"] for each in group["rules"]]


def panels() -> list[Document]:
    """The dashboard's panels that ask something."""
    board = json.loads((MONITORING / "crossmodal.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Every expression, Grafana's variables filled in."""
    for rule in rules():
        yield rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$namespace", ".*")
    for part in ("api", "encoder"):
        (scaled,) = build(SCALING / f"keda-{part}")
        yield scaled["spec"]["triggers"][0]["metadata"]["query"]


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """The selectors of an expression. Raises ``ValueError`` for what is no PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def visit(part: promql_parser.Expr) -> bool:
        if isinstance(part, promql_parser.VectorSelector):  # that of a range is visited too
            found.append(part)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def recorded() -> set[str]:
    """Series that recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def asked() -> list[promql_parser.VectorSelector]:
    """Every selector of a series that the service itself must show."""
    elsewhere = recorded() | OF_PROMETHEUS
    return [each for expression in expressions() for each in selectors(expression) if each.name not in elsewhere]
